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

/** A few milliseconds hit the exchange of SYNC, more hit whatever is under way then. */
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

describe('two sessions whose links are lost', () => {
  it(
    'deliver every byte and end every stream, once, and hold nothing afterwards',
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
    'end in order where nobody resets, with all that was to be sent',
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
