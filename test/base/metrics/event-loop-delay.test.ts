import { createHistogram, type IntervalHistogram } from 'node:perf_hooks';
import { expect, it } from 'vitest';
import { EventLoopDelay, lookMs } from '../../../src/base/metrics/event-loop-delay.ts';
import { Metrics } from '../../../src/base/metrics/metrics.ts';

/** The names of prom-client, without `nodejs_eventloop_`. */
const names = ['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99'].map(
  (suffix) => `lag${suffix}_seconds`,
);

function scene() {
  const samples = createHistogram();
  let isEnabled = false;
  // The other methods are those of a histogram that is recorded by hand.
  const histogram = Object.assign(samples, {
    enable: () => (isEnabled = true),
    disable: () => (isEnabled = false),
  }) as unknown as IntervalHistogram;
  let load = 0;
  let nowMs = 0;
  const delay = new EventLoopDelay({ histogram, utilization: () => load, now: () => nowMs });
  const reads = new Map<string, () => number>();
  const group = { gauge: (name: string, _: string, read: () => number) => reads.set(name, read) };
  delay.expose(group);
  return {
    record: (sampleMs: number) => samples.record(sampleMs * 1e6),
    scrape: () => Object.fromEntries([...reads].map(([name, read]) => [name, read()])),
    /** @returns whether samples are taken from now on */
    look: (nextLoad: number, lateMs = 0): boolean => {
      load = nextLoad;
      nowMs += lookMs + lateMs;
      delay.look();
      return isEnabled;
    },
  };
}

it('The delay of the event loop is sampled only while the process is busy', () => {
  const { look } = scene();
  expect(
    [0, 0.005, 0.019, 0.02, 0.5, 0.015, 0.01, 0.009, 0.015, 1].map((load) => look(load)),
  ).toEqual([false, false, false, true, true, true, true, false, false, true]);
});

it('The delay of the event loop is 0 in an idle process, and the time beyond the interval of samples otherwise', () => {
  const { record, scrape } = scene();
  expect(scrape()).toEqual(Object.fromEntries(names.map((name) => [name, 0])));
  for (let sample = 0; sample < 99; sample++) record(10);
  record(310);
  const delays = scrape();
  expect(delays['lag_min_seconds']).toBeCloseTo(0, 3);
  expect(delays['lag_p50_seconds']).toBeCloseTo(0, 3);
  expect(delays['lag_max_seconds']).toBeCloseTo(0.3, 2);
  expect(delays['lag_mean_seconds']).toBeCloseTo(0.003, 3);
  expect(scrape()['lag_max_seconds']).toBe(0);
});

it('The lag of the event loop is the lateness of its last timer', () => {
  const { look, scrape } = scene();
  look(0, 250);
  expect(scrape()['lag_seconds']).toBeCloseTo(0.25);
  look(0);
  expect(scrape()['lag_seconds']).toBe(0);
});

it("The metrics of a process have each of prom-client's names for the event loop once", async () => {
  const { text } = await new Metrics().render();
  const found = [...text.matchAll(/^nodejs_eventloop_(\S+) /gm)].map(([, name]) => name);
  expect(found).toEqual(names);
});
