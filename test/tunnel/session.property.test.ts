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

describe('two sessions over any link', () => {
  it(
    'deliver every byte and end every stream, once, and hold nothing afterwards',
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
    'end in order where nobody resets, with all that was to be sent',
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
    'end every stream when the link is lost in the middle',
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
