import { formatHostPort } from '../base/options-values.ts';
import { TunnelError, type TunnelErrorCode } from '../tunnel/errors.ts';

/**
 * Dial failures read like Go's net package writes them: operators, tests and clients of Cluster Proxy match on the
 * substrings (`connection refused`, `no such host`, `i/o timeout`).
 */
const byNodeCode: Readonly<Record<string, readonly [TunnelErrorCode, string]>> = {
  ECONNREFUSED: ['refused', 'connect: connection refused'],
  ECONNRESET: ['refused', 'connect: connection reset by peer'],
  ETIMEDOUT: ['timeout', 'i/o timeout'],
  EHOSTUNREACH: ['unreachable', 'connect: no route to host'],
  ENETUNREACH: ['unreachable', 'connect: network is unreachable'],
  EADDRNOTAVAIL: ['unreachable', 'connect: cannot assign requested address'],
  EACCES: ['dial_failed', 'connect: permission denied'],
  EMFILE: ['dial_failed', 'socket: too many open files'],
  ENFILE: ['dial_failed', 'socket: too many open files'],
};

/** A connect that failed, from Node's error; `address` is the one that was tried. */
export function connectError(address: string, port: number, cause: Error): TunnelError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  const [ours, text] = byNodeCode[code] ?? ['dial_failed', `connect: ${code || cause.message}`];
  const sentence = `dial tcp ${formatHostPort({ host: address, port })}: ${text}`;
  return new TunnelError(ours, sentence, { cause });
}

/** A name that did not resolve. */
export function lookupError(host: string, cause: Error): TunnelError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  const text = code === 'EAI_AGAIN' ? 'server misbehaving' : 'no such host';
  return new TunnelError('dns', `dial tcp: lookup ${host}: ${text}`, { cause });
}

export function dialTimeout(address: string, port: number): TunnelError {
  return new TunnelError(
    'timeout',
    `dial tcp ${formatHostPort({ host: address, port })}: i/o timeout`,
  );
}

export function forbiddenTarget(host: string, port: number): TunnelError {
  const target = formatHostPort({ host, port });
  const sentence = `dial tcp ${target}: forbidden by the agent's destination allowlist (--allow ${target} permits it)`;
  return new TunnelError('forbidden_target', sentence);
}

/** `<cluster>.<namespace>` with another namespace than the agent's. It is no address that the allowlist knows either. */
export function otherNamespace(
  target: { readonly host: string; readonly port: number },
  cluster: string,
  installNamespace: string | undefined,
): TunnelError {
  const advice =
    installNamespace === undefined
      ? `the agent was not told its namespace (--install-namespace), dial ${cluster}`
      : `the agent runs in the namespace ${installNamespace}, dial ${cluster} or ${cluster}.${installNamespace}`;
  const sentence = `dial tcp ${formatHostPort(target)}: no such name of the cluster: ${advice}`;
  return new TunnelError('forbidden_target', sentence);
}

/** The cluster's own name, where it leads to no kube-apiserver. */
export function withheldApiserver(host: string, port: number): TunnelError {
  const target = formatHostPort({ host, port });
  const sentence = `dial tcp ${target}: the agent does not lead to its kube-apiserver (--enable-kube-api-proxy=false)`;
  return new TunnelError('forbidden_target', sentence);
}

/** The target broke off in the middle. */
export function targetReset(address: string, port: number, cause: Error): TunnelError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  const text = code === 'ECONNRESET' ? 'read: connection reset by peer' : cause.message;
  const sentence = `read tcp ${formatHostPort({ host: address, port })}: ${text}`;
  return new TunnelError('target_reset', sentence, { cause });
}
