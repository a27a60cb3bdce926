import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  deliveryProblemsOf,
  ms,
  orderly,
  orderlyProblemsOf,
  run,
  scenario,
} from '../../testkit/stream/session-scenario.ts';

const timeoutMs = 120_000;

/** A few milliseconds hit the exchange of SYNC, longer times hit the frames after it. */
const losses = fc.array(
  fc.record({
    afterMs: fc.oneof(ms(5), ms(60), ms(300)),
    cut: fc.boolean(),
    gapMs: fc.oneof(fc.constant(0), ms(20), ms(2_000)),
    lateMs: fc.oneof(fc.constant(0), ms(30)),
  }),
  { minLength: 1, maxLength: 6 },
);

const lossy = fc
  .tuple(scenario, losses)
  .map(([what, losses]) => ({ ...what, stalls: what.stalls.slice(0, 1), losses }));

describe('Two sessions whose links are lost', () => {
  it(
    'Two sessions whose links are lost deliver every byte, end every stream once, and hold nothing afterwards',
    async () => {
      await fc.assert(
        fc.asyncProperty(lossy, async (what) => {
          expect(deliveryProblemsOf(await run(what))).toEqual([]);
        }),
        { numRuns: 2_500 },
      );
    },
    timeoutMs,
  );

  it(
    'Two sessions whose links are lost end in order without a reset, after all bytes were delivered',
    async () => {
      await fc.assert(
        fc.asyncProperty(lossy.map(orderly), async (what) => {
          expect(orderlyProblemsOf(await run(what))).toEqual([]);
        }),
        { numRuns: 2_500 },
      );
    },
    timeoutMs,
  );
});
