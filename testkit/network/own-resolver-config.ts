import { spawnSync } from 'node:child_process';
import type { Missing } from '../ground/cache.ts';
import type { ProgramOptions } from '../processes/process.ts';

const script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';

/**
 * Whether programs can have a resolv.conf of their own here: it takes a mount namespace, and a DNS
 * server on port 53 of a loopback address.
 */
export function ownResolverConfigs(): object | Missing {
  const missing = 'a resolv.conf of its own';
  if (process.platform !== 'linux') return { missing, reason: 'it takes namespaces of Linux' };
  if (process.getuid?.() !== 0) return { missing, reason: 'it takes a mount: run it as root' };
  const { status } = spawnSync('unshare', ['--mount', 'true']);
  return status === 0 ? {} : { missing, reason: 'unshare --mount does not work here' };
}

/** The program, with `file` as its /etc/resolv.conf. Its process has the same id all the time. */
export function withResolverConfig(options: ProgramOptions, file: string): ProgramOptions {
  const { command, args = [] } = options;
  return {
    ...options,
    command: 'unshare',
    args: ['--mount', 'sh', '-c', script, file, command, ...args],
  };
}

/** A loopback address whose port 53 is probably free. */
export function freeDnsHost(): string {
  const octet = () => 1 + Math.floor(Math.random() * 254);
  return `127.53.${octet()}.${octet()}`;
}
