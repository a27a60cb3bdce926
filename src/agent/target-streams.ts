import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import { refusedStream } from '../tunnel/refused-stream.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler } from '../tunnel/stream-handler.ts';
import type { TcpRequest } from '../tunnel/stream-request.ts';
import type { DestinationPolicy } from './destination-policy.ts';
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
  readonly log: Logger;
}

/**
 * Accepts the streams that dialers open: dials the target of each if the operator's list allows it,
 * or refuses it with the reason.
 */
export class TargetStreams {
  readonly dials: DialRecords;
  readonly #options: TargetStreamsOptions;
  readonly #open: OpenTargets;
  /** Dials that have not ended. */
  #dialing = 0;
  /** Sockets of dials that have not ended. */
  #connecting = 0;

  constructor(options: TargetStreamsOptions) {
    this.#options = options;
    this.dials = new DialRecords(options.log);
    this.#open = new OpenTargets(options.clock);
  }

  accept(request: TcpRequest, stream: Stream): StreamHandler {
    const { policy, dialTimeoutMs, clock, log } = this.#options;
    const { target, timeoutMs } = request;
    const counts = { connected: this.#open.size, dialing: this.#dialing };
    const problem = socketLimitProblem(target, counts);
    if (problem !== undefined) return this.#refuse(request, stream, problem);
    const destination = policy.resolve(target.host, target.port);
    if (destination === undefined) {
      const { host, port } = target;
      log.warn('destination refused', { host, port, caller: request.caller?.user });
      return this.#refuse(request, stream, policy.refusal(host, port));
    }
    const dial: DialOptions = {
      timeoutMs: timeoutMs === 0 ? dialTimeoutMs : Math.min(dialTimeoutMs, timeoutMs),
      clock,
      addressRefusal: (address) => policy.addressRefusal(destination, address),
      hasRoom: () => hasSocketRoom(this.#open.size + this.#dialing + this.#connecting),
      onSockets: (change) => (this.#connecting += change),
      onDialed: (outcome) => {
        this.#dialing--;
        this.dials.add(request, outcome);
      },
    };
    this.#dialing++;
    return new TargetConnection(stream, destination, dial, this.#open);
  }

  /** Resolves when no connection to a target is left, or when the signal aborts. */
  closed(signal: AbortSignal): Promise<void> {
    return this.#open.closed(signal);
  }

  #refuse(request: TcpRequest, stream: Stream, error: TunnelError): StreamHandler {
    this.dials.add(request, { durationMs: 0, error });
    stream.reset(error);
    return refusedStream;
  }
}
