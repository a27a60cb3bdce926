import type { Logger } from '../base/log/logger.ts';
import type { TunnelErrorCode } from '../tunnel/errors.ts';
import type { TcpRequest } from '../tunnel/stream-request.ts';
import type { DialOutcome } from './dial-target.ts';

/**
 * Upper bounds in seconds. A connection within a cluster takes a millisecond; 5 s is the default
 * time for a dial.
 */
export const dialBucketsSeconds = [0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30] as const;

/** The results of the agent's dials: counted for /metrics, and logged one by one at debug. */
export class DialRecords {
  /** By the code that the dialer gets; `ok` is a connection. */
  readonly countByCode = new Map<'ok' | TunnelErrorCode, number>([['ok', 0]]);
  /** Dials that took at most as long as the bound with the same index. */
  readonly withinBound: number[] = dialBucketsSeconds.map(() => 0);
  totalSeconds = 0;
  count = 0;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  add({ target, caller, trace }: TcpRequest, { error, address, durationMs }: DialOutcome): void {
    const code = error?.code ?? 'ok';
    const seconds = durationMs / 1_000;
    this.countByCode.set(code, (this.countByCode.get(code) ?? 0) + 1);
    this.count++;
    this.totalSeconds += seconds;
    for (let at = dialBucketsSeconds.length - 1; at >= 0; at--) {
      if (seconds > dialBucketsSeconds[at]!) break;
      this.withinBound[at]!++;
    }
    this.#log.debug('target dialed', {
      host: target.host,
      port: target.port,
      code,
      ms: Math.round(durationMs),
      address,
      caller: caller?.user,
      trace,
      error: error?.message,
    });
  }
}
