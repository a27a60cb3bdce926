import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  deliveryProblemsOf,
  ms,
  orderly,
  orderlyProblemsOf,
  problemsOf,
  run,
  scenario,
  type Scenario,
} from '../../testkit/stream/session-scenario.ts';

const timeoutMs = 120_000;

describe('Two sessions over any link', () => {
  it(
    'Two sessions deliver every byte, end every stream once, and hold nothing afterwards',
    async () => {
      await fc.assert(
        fc.asyncProperty(scenario, async (what) => {
          expect(deliveryProblemsOf(await run(what))).toEqual([]);
        }),
        { numRuns: 2500 },
      );
    },
    timeoutMs,
  );

  it(
    'Two sessions end in order without a reset, after all bytes were delivered',
    async () => {
      await fc.assert(
        fc.asyncProperty(scenario.map(orderly), async (what) => {
          expect(orderlyProblemsOf(await run(what))).toEqual([]);
        }),
        { numRuns: 2500 },
      );
    },
    timeoutMs,
  );

  it(
    'Two sessions end every stream when the link is lost in the middle',
    async () => {
      const cut = fc
        .tuple(scenario, ms(150))
        .map(([what, cutAtMs]): Scenario => ({ ...what, cutAtMs }));
      await fc.assert(
        fc.asyncProperty(cut, async (what) => {
          expect(problemsOf(await run(what))).toEqual([]);
        }),
        { numRuns: 1000 },
      );
    },
    timeoutMs,
  );
});
