import type { HttpRequestHead } from '../../http-exchange/http-exchange.ts';
import { TunnelError } from '../../tunnel/errors.ts';
import type { HttpTarget } from '../../tunnel/stream-request.ts';

const tokenReviewPath = '/apis/authentication.k8s.io/v1/tokenreviews';

/** Groups whose members are beyond RBAC, or are parts of the cluster itself. */
const privilegedGroups: ReadonlySet<string> = new Set(['system:masters', 'system:nodes']);

/** Users that are parts of the control plane, and the users of nodes. */
const privilegedUser = /^system:(?:node:|apiserver$|kube-)/;

const otherFields = /^impersonate-(?:uid|extra-.+)$/;

export interface CredentialRules {
  /** The broker knows the dialer as a gateway. */
  readonly isGateway: boolean;
  /** The operator lets gateways impersonate users. */
  readonly mayImpersonate: boolean;
}

/**
 * Why the agent does not send a request with its own token; undefined: it does. The agent never
 * acts as itself. It acts for one user that is named, and it reviews tokens.
 */
export function ownTokenProblem(
  { server }: Pick<HttpTarget, 'server'>,
  { method, path, headers }: HttpRequestHead,
  { isGateway, mayImpersonate }: CredentialRules,
): TunnelError | undefined {
  if (!isGateway) return forbidden('only a gateway may use its credentials');
  if (server.kind !== 'kube-apiserver')
    return forbidden('its credentials are for its kube-apiserver');
  const fields: [string, string][] = [];
  for (const [name, value] of headers) {
    // Some servers read an underscore in a name as a hyphen.
    const known = name.toLowerCase().replaceAll('_', '-');
    if (!known.startsWith('impersonate-')) continue;
    if (known !== name.toLowerCase()) return forbidden(`the field ${name} is not allowed`);
    fields.push([known, value]);
  }
  if (fields.length === 0 && method === 'POST' && path === tokenReviewPath) return undefined;
  if (!mayImpersonate)
    return forbidden('impersonation is turned off (--enable-impersonation=false)');
  return impersonationProblem(fields);
}

function impersonationProblem(fields: readonly [string, string][]): TunnelError | undefined {
  const users = fields.filter(([name]) => name === 'impersonate-user').map(([, value]) => value);
  const [user, ...others] = users;
  if (user === undefined || user === '' || others.length > 0) {
    return forbidden('a request with its credentials needs exactly one Impersonate-User');
  }
  if (privilegedUser.test(user)) return forbidden(`it does not impersonate the user ${user}`);
  for (const [name, value] of fields) {
    if (name === 'impersonate-user') continue;
    if (name !== 'impersonate-group' && !otherFields.test(name)) {
      return forbidden(`the field ${name} is not allowed`);
    }
    if (value === '' && name === 'impersonate-group') return forbidden('a group is empty');
    if (name === 'impersonate-group' && privilegedGroups.has(value)) {
      return forbidden(`it does not impersonate the group ${value}`);
    }
  }
  return undefined;
}

function forbidden(problem: string): TunnelError {
  return new TunnelError('forbidden', `the agent refuses the HTTP request: ${problem}`);
}
