import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log/logger.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import type { Stream } from '../tunnel/stream.ts';
import type { StreamHandler } from '../tunnel/stream-handler.ts';
import type { StreamRequest, Target } from '../tunnel/stream-request.ts';
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

/** Takes the streams that dialers open: each is dialled under the operator's list, or refused with the reason. */
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

  accept({ target, timeoutMs }: StreamRequest, stream: Stream): StreamHandler {
    const { policy, dialTimeoutMs, clock, log } = this.#options;
    const counts = { connected: this.#open.size, dialing: this.#dialing };
    const problem = socketLimitProblem(target, counts);
    if (problem !== undefined) return this.#refuse(target, stream, problem);
    const destination = policy.resolve(target.host, target.port);
    if (destination === undefined) {
      const refusal = policy.refusal(target.host, target.port);
      log.warn('destination refused', { host: target.host, port: target.port });
      return this.#refuse(target, stream, refusal);
    }
    const dial: DialOptions = {
      timeoutMs: timeoutMs === 0 ? dialTimeoutMs : Math.min(dialTimeoutMs, timeoutMs),
      clock,
      addressRefusal: (address) => policy.addressRefusal(destination, address),
      hasRoom: () => hasSocketRoom(this.#open.size + this.#dialing + this.#connecting),
      onSockets: (change) => (this.#connecting += change),
      onDialed: (outcome) => {
        this.#dialing--;
        this.dials.add(target, outcome);
      },
    };
    this.#dialing++;
    return new TargetConnection(stream, destination, dial, this.#open);
  }

  /** Resolves when no connection to a target is left, or when the signal aborts. */
  closed(signal: AbortSignal): Promise<void> {
    return this.#open.closed(signal);
  }

  #refuse(target: Target, stream: Stream, why: TunnelError): StreamHandler {
    this.dials.add(target, { durationMs: 0, error: why });
    stream.reset(why);
    return refusedStream;
  }
}

/** The handler of a stream that was refused while it was made. */
const refusedStream: StreamHandler = {
  onData() {},
  onFin() {},
  onWritable() {},
  onClose() {},
};
