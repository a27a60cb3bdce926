import { KubeError, type KubeErrorCode } from './kube-error.ts';

/** The answer of an API server to a failed request. */
interface Status {
  readonly kind: 'Status';
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: {
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly { readonly reason?: string }[];
  };
}

export function isStatus(body: unknown): body is Status {
  return typeof body === 'object' && body !== null && 'kind' in body && body.kind === 'Status';
}

/**
 * @param what the verb and the object: `get Secret hub/agent-server`
 * @param body parsed JSON, or the text if it is not JSON
 */
export function errorOf(
  httpStatus: number,
  body: unknown,
  what: string,
  retryAfterHeader?: string,
): KubeError {
  if (!isStatus(body)) return withoutStatus(httpStatus, what, retryAfterHeader);
  const status = body.code ?? httpStatus;
  const code = quirkOf(body) ?? codeOf(status, body.reason);
  const problem = withoutLocalPort(body.message) ?? body.reason ?? `status ${status}`;
  const retryAfterMs =
    retryAfterOf(retryAfterHeader) ?? retryAfterOf(body.details?.retryAfterSeconds);
  return new KubeError(code, `cannot ${what}: ${problem}; ${nextStep[code]}`, {
    status,
    retryAfterMs,
  });
}

/** An answer that is not an API server's Status: for an unknown path, or of a proxy. */
function withoutStatus(status: number, what: string, retryAfterHeader?: string): KubeError {
  const retryAfterMs = retryAfterOf(retryAfterHeader);
  if (status === 404) {
    return new KubeError('not_served', `cannot ${what}: ${nextStep.not_served}`, { status });
  }
  const code = codeOf(status, undefined);
  const known = code === 'unavailable' || code === 'unauthorized' || code === 'timeout';
  const message = `cannot ${what}: the answer is ${status} without a Kubernetes Status; is something else answering for the API server?`;
  return new KubeError(known ? code : 'bad_response', message, { status, retryAfterMs });
}

/** Cases in which the server's status is less exact than its message. */
function quirkOf({ message = '', details }: Status): KubeErrorCode | undefined {
  // The answer to a field that the schema does not have is 500.
  if (/failed to create typed (patch )?object/.test(message)) return 'invalid';
  // A webhook that must check the object does not answer. The server itself is well, and takes
  // objects of other kinds.
  if (/failed calling webhook/.test(message)) return 'invalid';
  // The version is newer than the store, which was restored from a backup. Waiting for it would not
  // help.
  const isAhead = details?.causes?.some(({ reason }) => reason === 'ResourceVersionTooLarge');
  return isAhead ? 'gone' : undefined;
}

/**
 * The message without the port from which the server connected to another one. It is another port
 * at each attempt, and a condition with the message would change each time.
 */
function withoutLocalPort(message: string | undefined): string | undefined {
  return message?.replaceAll(/\b(tcp|udp) [^\s>]+->/g, '$1 ');
}

const byReason: Readonly<Record<string, KubeErrorCode>> = {
  NotFound: 'not_found',
  AlreadyExists: 'already_exists',
  Conflict: 'conflict',
  Invalid: 'invalid',
  Unauthorized: 'unauthorized',
  Forbidden: 'forbidden',
  Expired: 'gone',
  Gone: 'gone',
  Timeout: 'timeout',
};

function codeOf(status: number, reason: string | undefined): KubeErrorCode {
  const code = byReason[reason ?? ''];
  if (code !== undefined) return code;
  if (status === 404) return 'not_found';
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 409) return 'conflict';
  if (status === 410) return 'gone';
  if (status === 504) return 'timeout';
  if (status === 429 || status >= 500) return 'unavailable';
  return status >= 400 ? 'invalid' : 'bad_response';
}

const nextStep: Readonly<Record<KubeErrorCode, string>> = {
  not_found: 'create it, or wait until it is created',
  already_exists: 'use it, or choose another name',
  conflict: 'read it again, or find out which other client writes it',
  invalid: 'correct what the server names',
  unauthorized: 'check token and certificate: they may have expired, or belong to another cluster',
  forbidden: 'grant it with a Role or ClusterRole',
  not_served:
    'the API server does not serve this kind; install its CRD, or wait until it is installed',
  gone: 'list again',
  unavailable: 'culvert tries again, check the API server',
  timeout: 'culvert tries again, check the load of the API server',
  bad_response: 'check which server answers at this address',
  bad_config: 'correct the kubeconfig',
};

/**
 * A proxy in front of the API server may ask for hours of patience, although the API server is back
 * in seconds.
 */
const maxRetryAfterMs = 60_000;

function retryAfterOf(seconds: string | number | undefined): number | undefined {
  const value = Number(seconds);
  if (seconds === undefined || !(value > 0)) return undefined;
  return Math.min(value * 1000, maxRetryAfterMs);
}
