import { expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runChaos } from '../../testkit/chaos/run.ts';

// Of many, two that together have every kind of fault within their time but those that take minutes.
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
        // With the story of the run before the verdict, or nobody could tell what came before what.
        const verdict =
          report.broken.length === 0 ? [] : [...lines, report.table, ...report.broken];
        expect(verdict).toEqual([]);
      },
    );
  },
);
