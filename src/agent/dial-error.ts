import type { ConnectAttempt } from '../base/net/connect-first.ts';
import type { NameError } from '../base/net/name-error.ts';
import { formatHostPort } from '../base/net/host-port.ts';
import { TunnelError, type TunnelErrorCode } from '../tunnel/errors.ts';

/**
 * Dial failures read like Go's net package writes them: operators, tests and clients of Cluster
 * Proxy match on the substrings (`connection refused`, `no such host`, `i/o timeout`).
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

/** The error of a failed connect to `address`, made from Node's error. */
export function connectError(address: string, port: number, cause: Error): TunnelError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  const [ours, text] = byNodeCode[code] ?? ['dial_failed', `connect: ${code || cause.message}`];
  const sentence = `dial tcp ${formatHostPort({ host: address, port })}: ${text}`;
  return new TunnelError(ours, sentence, { cause });
}

/**
 * A dial none of whose addresses could be connected to. The first address that says the most is the
 * error; the others are named after it.
 *
 * @param isTimeout the dial's time is over: addresses without an answer count before addresses that
 *   failed
 */
export function attemptsError(
  port: number,
  attempts: readonly ConnectAttempt[],
  isTimeout: boolean,
): TunnelError {
  const errors = attempts.map(({ address, error }) =>
    error === undefined ? dialTimeout(address, port) : connectError(address, port, error),
  );
  const main =
    errors.find(({ code }) => isTimeout && code === 'timeout') ??
    // A machine without IPv6 reports every IPv6 address as unreachable.
    errors.find(({ code }) => code !== 'unreachable') ??
    errors[0]!;
  const others = errors.filter((error) => error !== main);
  if (others.length === 0) return main;
  const also = others.map(({ message }) => message.replace(/^dial tcp /, '')).join(', ');
  return new TunnelError(main.code, `${main.message} (also tried: ${also})`, {
    cause: main.cause,
  });
}

/** A name that did not resolve. */
export function lookupError(host: string, cause: NameError): TunnelError {
  if (cause.code === 'overloaded') {
    const sentence = `dial tcp: lookup ${host}: too many lookups at a time, dial again later`;
    return new TunnelError('overloaded', sentence, { cause });
  }
  const text = cause.code === 'no_answer' ? 'server misbehaving' : 'no such host';
  return new TunnelError('dns', `dial tcp: lookup ${host}: ${text}`, { cause });
}

/** The name had no answer within the dial's time. */
export function lookupTimeout(host: string): TunnelError {
  return new TunnelError('timeout', `dial tcp: lookup ${host}: i/o timeout`);
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

/** A host that no rule allows, at a port of which only the name is known. */
export function forbiddenHost(host: string, portName: string): TunnelError {
  const sentence = `dial tcp ${host}:${portName}: forbidden by the agent's destination allowlist (no --allow names ${host})`;
  return new TunnelError('forbidden_target', sentence);
}

/** A target at a reserved address that no rule names. */
export function reservedAddress(
  target: { readonly host: string; readonly port: number },
  address: string,
  what: string,
): TunnelError {
  const listed = formatHostPort({ host: address, port: target.port });
  const has = target.host === address ? 'it' : `its address ${address}`;
  const sentence = `dial tcp ${formatHostPort(target)}: forbidden by the agent's destination allowlist: ${has} is ${what} and must be listed itself (--allow ${listed} permits it)`;
  return new TunnelError('forbidden_target', sentence);
}

/**
 * `<cluster>.<namespace>` with another namespace than the agent's. The allowlist does not match it
 * either.
 */
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

/** The cluster's own name, if the agent does not forward it to the kube-apiserver. */
export function withheldApiserver(host: string, port: number): TunnelError {
  const target = formatHostPort({ host, port });
  const sentence = `dial tcp ${target}: the agent does not lead to its kube-apiserver (--enable-kube-api-proxy=false)`;
  return new TunnelError('forbidden_target', sentence);
}

/** The target ended the connection with an error. */
export function targetReset(address: string, port: number, cause: Error): TunnelError {
  const code = (cause as NodeJS.ErrnoException).code ?? '';
  const text = code === 'ECONNRESET' ? 'read: connection reset by peer' : cause.message;
  const sentence = `read tcp ${formatHostPort({ host: address, port })}: ${text}`;
  return new TunnelError('target_reset', sentence, { cause });
}
