import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { droppedLinesHelp, droppedLogLines } from '../log/log-output.ts';
import { EventLoopDelay, type EventLoopDelayParts, lookMs, sampleMs } from './event-loop-delay.ts';

/** Metrics of one part of a program. Their names begin with the part's own prefix. */
export interface MetricsGroup {
  /** A gauge. `read` is called at each scrape, so the value always matches the state. */
  gauge(name: string, help: string, read: () => number): void;
  /** A gauge for each value of a label. */
  gauges(
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string, number]>,
  ): void;
  /** A counter whose value its owner keeps. `_total` is added to the name. */
  total(name: string, help: string, read: () => number): void;
  /** A counter for each value of a label, whose values their owner keeps. */
  totals(
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string | number, number]>,
  ): void;
  /** A counter for each combination of values of two labels, whose values their owner keeps. */
  totalsByTwo(
    name: string,
    help: string,
    labels: readonly [string, string],
    read: () => Iterable<readonly [string, string, number]>,
  ): void;
  /**
   * Returns a function that counts one event. `label` is the name of the label that the function's
   * argument sets.
   */
  counter(name: string, help: string, label: string): (value: string) => void;
  /**
   * Returns a function that records one value. `buckets` are upper bounds, in the unit at the end
   * of the name.
   */
  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void;
}

/** The answer of /metrics. */
export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

/**
 * A text is used again for `factor` times as long as it took to make, but for at most `mostMs`
 * milliseconds. So making texts takes at most a twentieth of the process's time, for any number of
 * scrapers.
 */
const reuse = { factor: 20, mostMs: 250 } as const;

/** So far apart are the samples of prom-client's own metrics of the event loop, in milliseconds. */
const never = 2 ** 31 - 1;

/**
 * The metrics of one process, including its memory and event loop. This class is the only user of
 * prom-client.
 */
export class Metrics {
  readonly #registry = new Registry();
  #rendered: Promise<MetricsText> | undefined;

  constructor() {
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: never });
    for (const { name } of this.#registry.getMetricsAsArray()) {
      if (name.startsWith('nodejs_eventloop_')) this.#registry.removeSingleMetric(name);
    }
    const delay = new EventLoopDelay(eventLoop());
    delay.expose(this.group('nodejs_eventloop'));
    setInterval(() => delay.look(), lookMs).unref();
    this.group('culvert_log').total('dropped_lines', droppedLinesHelp, droppedLogLines);
  }

  /** @param prefix the start of every name in the group, for example `culvert_broker` */
  group(prefix: string): MetricsGroup {
    return new RegistryGroup(this.#registry, prefix);
  }

  /**
   * Returns the text of all metrics, at most some milliseconds old. Calls at the same time share
   * one text.
   */
  async render(): Promise<MetricsText> {
    this.#rendered ??= this.#render();
    return await this.#rendered;
  }

  async #render(): Promise<MetricsText> {
    const startedAtMs = performance.now();
    const { contentType } = this.#registry;
    try {
      return { contentType, text: await this.#registry.metrics() };
    } finally {
      const reuseMs = Math.min(reuse.mostMs, reuse.factor * (performance.now() - startedAtMs));
      setTimeout(() => (this.#rendered = undefined), reuseMs).unref();
    }
  }
}

function eventLoop(): EventLoopDelayParts {
  let last = performance.eventLoopUtilization();
  return {
    histogram: monitorEventLoopDelay({ resolution: sampleMs }),
    utilization: () => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, last);
      last = now;
      return utilization;
    },
    now: () => performance.now(),
  };
}

class RegistryGroup implements MetricsGroup {
  readonly #registers: [Registry];
  readonly #prefix: string;

  constructor(registry: Registry, prefix: string) {
    this.#registers = [registry];
    this.#prefix = prefix;
  }

  gauge(name: string, help: string, read: () => number): void {
    void new Gauge({
      ...this.#common(name, help),
      collect() {
        this.set(read());
      },
    });
  }

  gauges(
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string, number]>,
  ): void {
    void new Gauge({
      ...this.#common(name, help),
      labelNames: [label],
      collect() {
        this.reset();
        for (const [value, level] of read()) this.set({ [label]: value }, level);
      },
    });
  }

  total(name: string, help: string, read: () => number): void {
    // prom-client keeps its own copy of a total only between two scrapes.
    void new Counter({
      ...this.#common(`${name}_total`, help),
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  totals(
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string | number, number]>,
  ): void {
    void new Counter({
      ...this.#common(`${name}_total`, help),
      labelNames: [label],
      collect() {
        this.reset();
        for (const [value, count] of read()) this.inc({ [label]: value }, count);
      },
    });
  }

  totalsByTwo(
    name: string,
    help: string,
    labels: readonly [string, string],
    read: () => Iterable<readonly [string, string, number]>,
  ): void {
    const [one, two] = labels;
    void new Counter({
      ...this.#common(`${name}_total`, help),
      labelNames: labels,
      collect() {
        this.reset();
        for (const [first, second, count] of read()) {
          this.inc({ [one]: first, [two]: second }, count);
        }
      },
    });
  }

  counter(name: string, help: string, label: string): (value: string) => void {
    const counter = new Counter({ ...this.#common(name, help), labelNames: [label] });
    return (value) => counter.inc({ [label]: value });
  }

  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void {
    const histogram = new Histogram({ ...this.#common(name, help), buckets: [...buckets] });
    return (value) => histogram.observe(value);
  }

  #common(name: string, help: string) {
    return { name: `${this.#prefix}_${name}`, help, registers: this.#registers };
  }
}
