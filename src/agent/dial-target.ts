import { isIP, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { type ConnectAttempt, ConnectError, connectFirst } from '../base/net/connect-first.ts';
import { NameError } from '../base/net/name-error.ts';
import { type FoundAddresses, type NameResolver, systemNames } from '../base/net/name-resolver.ts';
import type { HostPort } from '../base/net/host-port.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { attemptsError, lookupError, lookupTimeout } from './dial-error.ts';

/** How a target is dialed. */
export interface DialOptions {
  /** How long the dial may take, in milliseconds: the lookup of the name, and all addresses. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Resolves names (default: the system's configuration). */
  readonly names?: NameResolver;
  /** Why an address of the destination must not be dialed; undefined: it may (default: all may). */
  readonly addressRefusal?: (address: string) => TunnelError | undefined;
  /**
   * Whether the process has room for a third socket of this dial, or a further one (default: yes).
   */
  readonly hasRoom?: () => boolean;
  /**
   * Called with the change whenever the dial has more or fewer sockets. A connected socket no
   * longer counts.
   */
  readonly onSockets?: (change: number) => void;
  /** Called once when the dial has ended. */
  readonly onDialed?: (outcome: DialOutcome) => void;
}

export interface DialOutcome {
  readonly durationMs: number;
  /** The address that answered. */
  readonly address?: string;
  /** Why there is no connection; `cancelled`: the stream ended before the dial. */
  readonly error?: TunnelError;
}

export interface DialedTarget {
  readonly socket: Socket;
  readonly address: string;
}

// Reasons of aborts. Made once, because an abort without a reason makes an error each time, with a
// stack.
const timedOut = new Error('the dial took too long');
const dialOver = new Error('the dial is over');

/**
 * Connects to a destination. Each address of a name is checked and then connected to as it is: the
 * name is never looked up a second time.
 *
 * @param connect starts a connection to an address
 * @param dialing cancels the dial when the caller aborts it; the dial aborts it itself when its
 *   time is over, and after a lookup
 * @throws TunnelError `cancelled` after an abort; any other code says why there is no connection
 */
export async function dialTarget(
  destination: HostPort,
  options: DialOptions,
  connect: (address: string) => Socket,
  dialing: AbortController,
): Promise<DialedTarget> {
  const { clock, timeoutMs, onDialed } = options;
  const startedAtMs = clock.now();
  // AbortSignal.timeout would live on for its whole time after each dial.
  const timer = clock.setTimer(timeoutMs, () => dialing.abort(timedOut));
  try {
    const dialed = await dialWithin(destination, options, connect, dialing.signal);
    onDialed?.({ durationMs: clock.now() - startedAtMs, address: dialed.address });
    return dialed;
  } catch (thrown) {
    const { aborted, reason } = dialing.signal;
    const error =
      aborted && reason !== timedOut
        ? new TunnelError('cancelled', 'the stream ended during the dial')
        : TunnelError.from(thrown);
    onDialed?.({ durationMs: clock.now() - startedAtMs, error });
    throw error;
  } finally {
    timer.cancel();
    // Ends the rest of the lookup. An address has none, and an abort costs more than a timer.
    if (isIP(destination.host) === 0) dialing.abort(dialOver);
  }
}

async function dialWithin(
  destination: HostPort,
  options: DialOptions,
  connect: (address: string) => Socket,
  signal: AbortSignal,
): Promise<DialedTarget> {
  const { port } = destination;
  const { clock, timeoutMs, hasRoom, onSockets } = options;
  const counted = (address: string): Socket => {
    const socket = connect(address);
    onSockets?.(1);
    // The first of the two events ends the dial of this socket.
    const release = (): void => {
      socket.off('connect', release).off('close', release);
      onSockets?.(-1);
    };
    return socket.on('connect', release).on('close', release);
  };
  const found = permitted(await addressesOf(destination, options, signal), options);
  const attempts: ConnectAttempt[] = [];
  try {
    return await connectFirst(found, {
      connect: counted,
      clock,
      signal,
      withinMs: timeoutMs,
      attempts,
      ...(hasRoom === undefined ? {} : { hasRoom }),
    });
  } catch (thrown) {
    const isTimeout = signal.reason === timedOut;
    if (isTimeout && attempts.length === 0) throw lookupTimeout(destination.host);
    if (isTimeout || thrown instanceof ConnectError) throw attemptsError(port, attempts, isTimeout);
    throw thrown;
  }
}

async function addressesOf(
  { host }: HostPort,
  { names = systemNames }: DialOptions,
  signal: AbortSignal,
): Promise<FoundAddresses> {
  if (isIP(host) !== 0) return { addresses: [host] };
  try {
    return await names.lookup(host, signal);
  } catch (thrown) {
    if (signal.reason === timedOut) throw lookupTimeout(host);
    if (thrown instanceof NameError) throw lookupError(host, thrown);
    throw thrown;
  }
}

/** @throws TunnelError `forbidden_target` no address is permitted */
function permitted({ addresses, late }: FoundAddresses, options: DialOptions): FoundAddresses {
  const { addressRefusal = () => undefined } = options;
  const refusals = addresses.map(addressRefusal);
  const rest = addresses.filter((_, index) => refusals[index] === undefined);
  const refusal = refusals.find((error) => error !== undefined);
  if (rest.length === 0 && refusal !== undefined) throw refusal;
  const isPermitted = (address: string): boolean => addressRefusal(address) === undefined;
  return { addresses: rest, late: late?.then((more) => more.filter(isPermitted)) };
}
