import { isIP, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { type ConnectAttempt, ConnectError, connectFirst } from '../base/net/connect-first.ts';
import { NameError } from '../base/net/name-error.ts';
import { type FoundAddresses, type NameResolver, systemNames } from '../base/net/name-resolver.ts';
import type { HostPort } from '../base/net/host-port.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { attemptsError, lookupError, lookupTimeout } from './dial-error.ts';

/** How a target is dialled. */
export interface DialOptions {
  /** How long it may take, in milliseconds: the lookup of its name, and all its addresses. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Default: the system's. */
  readonly names?: NameResolver;
  /** Why an address of the destination must not be connected to; undefined: it may (default: all may). */
  readonly addressRefusal?: (address: string) => TunnelError | undefined;
  /** Whether the process has room for a third socket of a dial, and for further ones (default: it has). */
  readonly hasRoom?: () => boolean;
  /** Told how many sockets the dial has more or fewer; the one that it ends with is not its own any more. */
  readonly onSockets?: (change: number) => void;
  /** Told once of every dial. */
  readonly onDialed?: (outcome: DialOutcome) => void;
}

export interface DialOutcome {
  readonly durationMs: number;
  /** The one that answered. */
  readonly address?: string;
  /** Why there is no connection; `cancelled`: the stream ended before. */
  readonly error?: TunnelError;
}

export interface DialedTarget {
  readonly socket: Socket;
  readonly address: string;
}

// Why a dial was given up. Made once: an abort without a reason makes one each time, with a stack.
const timedOut = new Error('the dial took too long');
const dialOver = new Error('the dial is over');

/**
 * Connects to a destination. Each address of a name is checked and then connected to as it is: the name is never looked up a second time.
 *
 * @param connect starts a connection to an address
 * @throws TunnelError; or the signal's reason
 */
export async function dialTarget(
  destination: HostPort,
  options: DialOptions,
  connect: (address: string) => Socket,
  signal: AbortSignal,
): Promise<DialedTarget> {
  const { clock, timeoutMs, onDialed } = options;
  const startedAtMs = clock.now();
  const dialing = new AbortController();
  const onAbort = (): void => dialing.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  // AbortSignal.timeout would live on for its whole time after each dial.
  const timer = clock.setTimer(timeoutMs, () => dialing.abort(timedOut));
  try {
    const dialed = await dialWithin(destination, options, connect, dialing.signal);
    onDialed?.({ durationMs: clock.now() - startedAtMs, address: dialed.address });
    return dialed;
  } catch (thrown) {
    const error = signal.aborted
      ? new TunnelError('cancelled', 'the stream ended during the dial')
      : TunnelError.from(thrown);
    onDialed?.({ durationMs: clock.now() - startedAtMs, error });
    throw error;
  } finally {
    timer.cancel();
    signal.removeEventListener('abort', onAbort);
    // Ends what is still open of the lookup.
    dialing.abort(dialOver);
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
    // Whichever comes first: the dial is over for this socket then.
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
