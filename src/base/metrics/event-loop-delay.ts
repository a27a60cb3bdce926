import type { IntervalHistogram } from 'node:perf_hooks';

/** The time between two samples while the process is busy, in milliseconds. */
export const sampleMs = 10;

/** How often `look` is called, in milliseconds. */
export const lookMs = 1_000;

/**
 * The part of the time for which the event loop must work so that samples begin, and below which
 * they end. The samples alone need less than half a percent.
 */
const busy = { from: 0.02, below: 0.01 } as const;

type Delays = Pick<IntervalHistogram, 'min' | 'max' | 'mean' | 'stddev'> & {
  readonly percentile: (of: number) => number;
};

const noDelays: Delays = { min: 0, max: 0, mean: 0, stddev: 0, percentile: () => 0 };

/** Where the metrics go. */
export interface Gauges {
  gauge(name: string, help: string, read: () => number): void;
}

export interface EventLoopDelayParts {
  /** Takes a sample every `sampleMs` while it is enabled. */
  readonly histogram: IntervalHistogram;
  /** The part of the time since the last call for which the event loop worked, from 0 to 1. */
  readonly utilization: () => number;
  /** Monotonic time in milliseconds. */
  readonly now: () => number;
}

/**
 * The delay of the event loop, with the names and help texts of prom-client's metrics. Each sample
 * wakes the process, so prom-client would wake an idle process 100 times a second. This class
 * samples only while the process is busy. An idle process has no delay.
 */
export class EventLoopDelay {
  readonly #parts: EventLoopDelayParts;
  #isSampling = false;
  #lookedAtMs: number;
  #lagSeconds = 0;
  /** As of the last scrape, in seconds. */
  #delays = noDelays;

  constructor(parts: EventLoopDelayParts) {
    this.#parts = parts;
    this.#lookedAtMs = parts.now();
  }

  /** Starts or ends the samples. */
  look(): void {
    const { histogram, utilization, now } = this.#parts;
    const lateMs = now() - this.#lookedAtMs - lookMs;
    this.#lagSeconds = Math.max(0, lateMs) / 1_000;
    this.#lookedAtMs = now();
    const load = utilization();
    if (!this.#isSampling && load >= busy.from) {
      this.#isSampling = true;
      histogram.enable();
    } else if (this.#isSampling && load < busy.below) {
      this.#isSampling = false;
      histogram.disable();
    }
  }

  /** Adds the metrics to `group`, whose prefix is `nodejs_eventloop`. */
  expose(group: Gauges): void {
    const gauge = (name: string, help: string, read: () => number) =>
      group.gauge(`${name}_seconds`, help, read);
    // The first one of a scrape reads the delays for all.
    gauge('lag', 'Lag of event loop in seconds.', () => {
      this.#delays = this.#takeDelays();
      return this.#lagSeconds;
    });
    const of = 'of the recorded event loop delays.';
    gauge('lag_min', 'The minimum recorded event loop delay.', () => this.#delays.min);
    gauge('lag_max', 'The maximum recorded event loop delay.', () => this.#delays.max);
    gauge('lag_mean', `The mean ${of}`, () => this.#delays.mean);
    gauge('lag_stddev', `The standard deviation ${of}`, () => this.#delays.stddev);
    for (const part of [50, 90, 99]) {
      const help = `The ${part}th percentile ${of}`;
      gauge(`lag_p${part}`, help, () => this.#delays.percentile(part));
    }
  }

  /** The delays since the last call. A sample is the time since the one before it. */
  #takeDelays(): Delays {
    const { histogram } = this.#parts;
    if (histogram.count === 0) return noDelays;
    const seconds = (sampleNs: number) => Math.max(0, sampleNs / 1e6 - sampleMs) / 1_000;
    const percentiles = new Map([50, 90, 99].map((of) => [of, seconds(histogram.percentile(of))]));
    const delays = {
      min: seconds(histogram.min),
      max: seconds(histogram.max),
      mean: seconds(histogram.mean),
      stddev: histogram.stddev / 1e9,
      percentile: (of: number) => percentiles.get(of) ?? 0,
    };
    histogram.reset();
    return delays;
  }
}
