import type { Logger } from '../base/log/logger.ts';
import type { HostPort } from '../base/net/host-port.ts';
import type { TunnelErrorCode } from '../tunnel/errors.ts';
import type { DialOutcome } from './dial-target.ts';

/** Upper bounds in seconds. A connection within a cluster takes a millisecond; 5 s is the default time for a dial. */
export const dialBucketsSeconds = [0.005, 0.025, 0.1, 0.5, 1, 5, 30] as const;

/** What the agent's dials came to, counted for /metrics and logged one by one at debug. */
export class DialRecords {
  /** By the code that the dialer is told; `ok`: a connection. */
  readonly countByCode = new Map<'ok' | TunnelErrorCode, number>([['ok', 0]]);
  /** Dials that took at most as long as the bound with the same index. */
  readonly withinBound: number[] = dialBucketsSeconds.map(() => 0);
  secondsInAll = 0;
  count = 0;
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  add({ host, port }: HostPort, { error, address, durationMs }: DialOutcome): void {
    const code = error?.code ?? 'ok';
    const seconds = durationMs / 1_000;
    this.countByCode.set(code, (this.countByCode.get(code) ?? 0) + 1);
    this.count++;
    this.secondsInAll += seconds;
    for (const [index, bound] of dialBucketsSeconds.entries()) {
      if (seconds <= bound) this.withinBound[index]!++;
    }
    const ms = Math.round(durationMs);
    this.#log.debug('target dialed', { host, port, code, ms, address, error: error?.message });
  }
}
