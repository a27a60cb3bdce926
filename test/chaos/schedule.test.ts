import { describe, expect, it } from 'vitest';
import { isAbuse } from '../../testkit/chaos/abuse.ts';
import {
  faultKinds,
  longLimits,
  schedule,
  shortLimits,
  type PlannedFault,
} from '../../testkit/chaos/schedule.ts';

const size = { brokers: 3, agents: 4, dialers: 2 };
/** More than one turn of the deck. */
const faultCount = 80;

function firstFaults(seed: number, limits = shortLimits): PlannedFault[] {
  return schedule(seed, size, limits).take(faultCount).toArray();
}

describe('The schedule of a chaos run', () => {
  it('The schedule of a chaos run has the same faults for the same seed, and others for another seed', () => {
    expect(firstFaults(1)).toEqual(firstFaults(1));
    expect(firstFaults(1)).not.toEqual(firstFaults(2));
  });

  it('The schedule of a chaos run has every kind of fault', () => {
    const kinds = new Set(firstFaults(1, longLimits).map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual([...faultKinds].sort());
  });

  it('The schedule of a chaos run has an abuser of every kind, for a few seconds, against brokers that exist', () => {
    const abuses = firstFaults(1).filter(({ kind }) => isAbuse(kind));
    const kinds = new Set(abuses.map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual(faultKinds.filter(isAbuse).sort());
    expect(kinds.size).toBe(4);
    for (const { holdMs, victim } of abuses) {
      expect(holdMs).toBeGreaterThanOrEqual(3_000);
      expect(holdMs).toBeLessThanOrEqual(5_000);
      expect(victim).toBeLessThan(size.brokers);
    }
  });
});
