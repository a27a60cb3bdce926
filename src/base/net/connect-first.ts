import { isIP, type Socket } from 'node:net';
import type { Clock, Timer } from '../clock.ts';
import type { FoundAddresses } from './name-resolver.ts';

/** One address that was tried. */
export interface ConnectAttempt {
  readonly address: string;
  /** Undefined while there is no result, and for the address that succeeded. */
  error: Error | undefined;
}

/** Every address failed. The attempts that the caller passed in hold the errors. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError';
}

export interface ConnectFirstOptions {
  /** Starts a connection to an address. It must not resolve names. */
  readonly connect: (address: string) => Socket;
  readonly clock: Clock;
  /** Ends all attempts. */
  readonly signal: AbortSignal;
  /**
   * How long the caller waits at most, in milliseconds. If the time is short, attempts start at
   * shorter intervals.
   */
  readonly withinMs: number;
  /**
   * Called before an attempt starts while two or more are running. False delays the attempt
   * (default: true).
   */
  readonly hasRoom?: () => boolean;
  /** Receives each attempt when it starts, for the caller's messages. */
  readonly attempts: ConnectAttempt[];
}

/**
 * How long an attempt runs before the next one starts, in milliseconds. RFC 8305 (section 5)
 * recommends 250; Go waits 300.
 */
const attemptDelayMs = 300;
/** The shortest delay that RFC 8305 recommends. */
const shortestDelayMs = 100;
/** The number of simultaneous attempts that do not need `hasRoom`. */
const freeAttempts = 2;
/** Only the first addresses of a name are tried, because each attempt holds a socket. */
const maxAddresses = 10;

/**
 * Connects to the first address that answers (Happy Eyeballs, RFC 8305). IPv4 and IPv6 addresses
 * alternate. The next address starts when the previous one has failed, or has not answered for 300
 * ms. Earlier attempts continue. When one succeeds, the others are closed.
 *
 * Node's own `autoSelectFamily` ends an attempt when it starts the next one, so it never reaches a
 * good address that needs more than 250 ms.
 *
 * @throws ConnectError, or the signal's reason
 */
export function connectFirst(
  found: FoundAddresses,
  options: ConnectFirstOptions,
): Promise<{ readonly socket: Socket; readonly address: string }> {
  return new Promise((resolve, reject) => {
    options.signal.throwIfAborted();
    const race = new Race(options, (result) => {
      if (result instanceof Error) reject(result);
      else resolve(result);
    });
    race.start(found);
  });
}

type Result = { readonly socket: Socket; readonly address: string } | Error;

class Race {
  readonly #options: ConnectFirstOptions;
  readonly #settle: (result: Result) => void;
  readonly #running = new Set<Socket>();
  #waiting: string[] = [];
  #isMoreExpected = false;
  #delayMs = attemptDelayMs;
  #timer: Timer | undefined;
  #over = false;

  constructor(options: ConnectFirstOptions, settle: (result: Result) => void) {
    this.#options = options;
    this.#settle = settle;
  }

  start({ addresses, late }: FoundAddresses): void {
    const { signal, withinMs } = this.#options;
    signal.addEventListener('abort', this.#onAbort, { once: true });
    this.#waiting = interleaved(addresses).slice(0, maxAddresses);
    const share = withinMs / (this.#waiting.length + 1);
    this.#delayMs = Math.min(attemptDelayMs, Math.max(shortestDelayMs, share));
    this.#isMoreExpected = late !== undefined;
    void late?.then((more) => this.#add(more));
    this.#next();
  }

  readonly #onAbort = (): void => this.#end(this.#options.signal.reason as Error);

  #add(addresses: readonly string[]): void {
    this.#isMoreExpected = false;
    if (this.#over) return;
    const room = maxAddresses - this.#options.attempts.length;
    this.#waiting = interleaved([...addresses, ...this.#waiting]).slice(0, Math.max(0, room));
    if (this.#running.size === 0) this.#next();
    else this.#timer ??= this.#options.clock.setTimer(this.#delayMs, () => this.#next());
  }

  /** Starts the next address, and plans the one after it. */
  #next(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const { clock, hasRoom } = this.#options;
    if (this.#running.size >= freeAttempts && hasRoom?.() === false) {
      this.#timer = clock.setTimer(this.#delayMs, () => this.#next());
      return;
    }
    const address = this.#waiting.shift();
    if (address !== undefined) this.#try(address);
    else if (this.#running.size === 0 && !this.#isMoreExpected) {
      this.#end(new ConnectError('no address could be connected to'));
    }
  }

  #try(address: string): void {
    const { connect, clock, attempts } = this.#options;
    const attempt: ConnectAttempt = { address, error: undefined };
    attempts.push(attempt);
    const socket = connect(address);
    this.#running.add(socket);
    const onError = (error: Error): void => {
      attempt.error = error;
      this.#running.delete(socket);
      this.#next();
    };
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      this.#running.delete(socket);
      this.#end({ socket, address });
    });
    if (this.#waiting.length > 0) {
      this.#timer = clock.setTimer(this.#delayMs, () => this.#next());
    }
  }

  #end(result: Result): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    this.#options.signal.removeEventListener('abort', this.#onAbort);
    for (const socket of this.#running) close(socket);
    this.#running.clear();
    this.#settle(result);
  }
}

function close(socket: Socket): void {
  socket.removeAllListeners('error');
  socket.on('error', () => {});
  socket.destroy();
}

/** IPv4 comes first, because most networks have it. Within a family the order is kept. */
function interleaved(addresses: readonly string[]): string[] {
  const known = addresses.filter((address) => isIP(address) !== 0);
  if (known.length < 2) return known;
  const ipv4 = known.filter((address) => isIP(address) === 4);
  const ipv6 = known.filter((address) => isIP(address) === 6);
  const turns = Array.from({ length: Math.max(ipv4.length, ipv6.length) }, (_, turn) => turn);
  return turns
    .flatMap((turn) => [ipv4[turn], ipv6[turn]])
    .filter((address) => address !== undefined);
}
