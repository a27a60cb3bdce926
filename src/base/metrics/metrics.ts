import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { droppedLinesHelp, droppedLogLines } from '../log/log-output.ts';

/** What one part of a program counts; its names begin with the part's own prefix. */
export interface MetricsGroup {
  /** `read` is asked when somebody looks, so a gauge is a view of what is there and cannot drift. */
  gauge(name: string, help: string, read: () => number): void;
  /** The same for each value of a label. */
  gauges(
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string, number]>,
  ): void;
  /** A count that its owner keeps; `_total` is added to the name. */
  total(name: string, help: string, read: () => number): void;
  /** The same for each value of a label. */
  totals(
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string | number, number]>,
  ): void;
  /** Returns what counts one more; `label` names what the argument of that stands for. */
  counter(name: string, help: string, label: string): (value: string) => void;
  /** Returns what takes one more value; `buckets` are upper bounds in the unit that the name ends with. */
  histogram(name: string, help: string, buckets: readonly number[]): (value: number) => void;
}

/** What /metrics answers. */
export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

/**
 * A text is answered again until this many times as long has passed as it took to make, but not longer than `mostMs` milliseconds. So making
 * texts takes at most a twentieth of the process's time, however many ask.
 */
const reuse = { factor: 20, mostMs: 250 } as const;

/** The metrics of one process, its memory and event loop among them; the one door to prom-client. */
export class Metrics {
  readonly #registry = new Registry();
  #rendered: Promise<MetricsText> | undefined;

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    this.group('culvert_log').total('dropped_lines', droppedLinesHelp, droppedLogLines);
  }

  /** @param prefix what every name of the group begins with, for example `culvert_broker` */
  group(prefix: string): MetricsGroup {
    return new RegistryGroup(this.#registry, prefix);
  }

  /** The text of all metrics, made at most some milliseconds ago. Whoever asks while it is being made gets the same. */
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
