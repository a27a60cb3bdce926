import type { Subject } from './subject.ts';

const account = 'system:serviceaccount:';

/**
 * The name of a hub cluster's user outside the hub. A ServiceAccount gets a prefix, because each
 * managed cluster can have an account of the same name.
 */
export function nameOutsideHub({ user, source }: Subject): string {
  return source === 'hub-token' && user.startsWith(account) ? `cluster:hub:${user}` : user;
}
