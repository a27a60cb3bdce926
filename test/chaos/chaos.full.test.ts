import { expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runChaos } from '../../testkit/chaos/run.ts';

// Two of many seeds. Together they have all kinds of faults, except faults that take minutes.
const seeds = [759, 5572];
const durationMs = 60_000;

describeWith(
  { go: await ground.go(), redis: await ground.debian('redis-server') },
  'A fleet under chaos',
  ({ go, redis }) => {
    it.each(seeds)(
      'The fleet loses no stream and changes no byte while brokers, Redis, networks and agents fail (seed %i)',
      { timeout: 240_000 },
      async (seed) => {
        const lines: string[] = [];
        const report = await runChaos({
          seed,
          durationMs,
          go,
          redis,
          log: (line) => lines.push(line),
        });
        // The history of the run comes before the verdict, to show the order of events.
        const verdict =
          report.broken.length === 0 ? [] : [...lines, report.table, ...report.broken];
        expect(verdict).toEqual([]);
      },
    );
  },
);
