import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import { TunnelError } from '../tunnel/errors.ts';
import { refusedStream } from '../tunnel/refused-stream.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler } from '../tunnel/stream-handler.ts';
import type { NameResolver } from '../base/net/name-resolver.ts';
import type { TcpRequest } from '../tunnel/stream-request.ts';
import type { Destination, DestinationPolicy } from './destination-policy.ts';
import { forbiddenHost } from './dial-error.ts';
import { DialRecords } from './dial-records.ts';
import type { DialOptions } from './dial-target.ts';
import { OpenTargets } from './open-targets.ts';
import { hasSocketRoom, socketLimitProblem } from './socket-limit.ts';
import { TargetConnection } from './target-connection.ts';

export interface TargetStreamsOptions {
  readonly policy: DestinationPolicy;
  /** How long a target may take to accept a connection, in milliseconds. */
  readonly dialTimeoutMs: number;
  readonly clock: Clock;
  /** Resolves the names of targets (default: the system's configuration). */
  readonly names?: NameResolver;
  readonly log: Logger;
}

/**
 * Accepts the streams that dialers open: dials the target of each if the operator's list allows it,
 * or refuses it with the reason.
 */
export class TargetStreams {
  readonly dials: DialRecords;
  readonly #options: TargetStreamsOptions;
  /** The connections to targets. */
  readonly open: OpenTargets;
  /** Dials that have not ended. */
  #dialing = 0;
  /** Sockets of dials that have not ended. */
  #connecting = 0;

  constructor(options: TargetStreamsOptions) {
    this.#options = options;
    this.dials = new DialRecords(options.log);
    this.open = new OpenTargets(options.clock);
  }

  accept(request: TcpRequest, stream: Stream): StreamHandler {
    try {
      const destination = this.destinationOf(request);
      const dial = this.beginDial(request, destination);
      return new TargetConnection(stream, destination, dial, this.open);
    } catch (thrown) {
      stream.reset(TunnelError.from(thrown));
      return refusedStream;
    }
  }

  /** @throws TunnelError `forbidden_target` the operator's list does not allow it */
  destinationOf(request: TcpRequest): Destination {
    const { policy, log } = this.#options;
    const { host, port } = request.target;
    const destination = policy.resolve(host, port);
    if (destination !== undefined) return destination;
    log.warn('destination refused', { host, port, caller: request.caller?.user });
    throw this.#refused(request, policy.refusal(host, port));
  }

  /**
   * Refuses a host that no rule allows, before its port is looked up: the answer of the lookup would
   * tell the dialer whether the host exists.
   *
   * @throws TunnelError `forbidden_target` the operator's list does not allow it at any port
   */
  checkHost(host: string, portName: string, caller: string | undefined): void {
    const { policy, log } = this.#options;
    if (policy.allowsHost(host)) return;
    log.warn('destination refused', { host, port: portName, caller });
    throw forbiddenHost(host, portName);
  }

  /**
   * Counts a dial, which `onDialed` of the result ends.
   *
   * @throws TunnelError `stream_limit` the process has no room for its sockets
   */
  beginDial(request: TcpRequest, destination: Destination): DialOptions {
    const { policy, dialTimeoutMs, clock, names } = this.#options;
    const { target, timeoutMs } = request;
    const counts = { connected: this.open.size, dialing: this.#dialing };
    const problem = socketLimitProblem(target, counts);
    if (problem !== undefined) throw this.#refused(request, problem);
    this.#dialing++;
    return {
      timeoutMs: timeoutMs === 0 ? dialTimeoutMs : Math.min(dialTimeoutMs, timeoutMs),
      clock,
      ...(names === undefined ? {} : { names }),
      addressRefusal: (address) => policy.addressRefusal(destination, address),
      hasRoom: () => hasSocketRoom(this.open.size + this.#dialing + this.#connecting),
      onSockets: (change) => (this.#connecting += change),
      onDialed: (outcome) => {
        this.#dialing--;
        this.dials.add(request, outcome);
      },
    };
  }

  /** Resolves when no connection to a target is left, or when the signal aborts. */
  closed(signal: AbortSignal): Promise<void> {
    return this.open.closed(signal);
  }

  #refused(request: TcpRequest, error: TunnelError): TunnelError {
    this.dials.add(request, { durationMs: 0, error });
    return error;
  }
}
