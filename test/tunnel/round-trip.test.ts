import { describe, expect, it } from 'vitest';
import { RoundTrip } from '../../src/tunnel/round-trip.ts';

function measure(roundTrip: RoundTrip, askedAtMs: number, tookMs: number): void {
  roundTrip.answer(roundTrip.ask(askedAtMs), askedAtMs + tookMs);
}

describe('RoundTrip', () => {
  it('RoundTrip knows no value before the first answer', () => {
    const roundTrip = new RoundTrip();
    expect(roundTrip.ms).toBeUndefined();
    measure(roundTrip, 0, 20);
    expect(roundTrip.ms).toBe(20);
  });

  it('RoundTrip follows a shorter path at once and a longer path slowly', () => {
    const roundTrip = new RoundTrip();
    measure(roundTrip, 0, 20);
    measure(roundTrip, 200, 5);
    expect(roundTrip.ms).toBe(5);
    measure(roundTrip, 400, 100);
    expect(roundTrip.ms).toBeCloseTo(5.6);
    for (let turn = 3; turn < 60; turn++) measure(roundTrip, turn * 200, 100);
    expect(roundTrip.ms).toBe(100);
  });

  it('RoundTrip rises from zero as well', () => {
    const roundTrip = new RoundTrip();
    measure(roundTrip, 0, 0);
    for (let turn = 1; turn < 60; turn++) measure(roundTrip, turn * 200, 3);
    expect(roundTrip.ms).toBe(3);
  });

  it('RoundTrip is due every 200 ms, with one PING at a time', () => {
    const roundTrip = new RoundTrip();
    expect(roundTrip.due(0)).toBe(true);
    const ping = roundTrip.ask(0);
    expect(roundTrip.due(1_000)).toBe(false);
    roundTrip.answer(ping, 150);
    expect(roundTrip.due(199)).toBe(false);
    expect(roundTrip.due(200)).toBe(true);
  });

  it('RoundTrip asks again after 10 s without an answer, and ignores the late answer', () => {
    const roundTrip = new RoundTrip();
    const lost = roundTrip.ask(0);
    expect(roundTrip.due(9_999)).toBe(false);
    expect(roundTrip.due(10_000)).toBe(true);
    const second = roundTrip.ask(10_000);
    roundTrip.answer(lost, 10_010);
    expect(roundTrip.ms).toBeUndefined();
    roundTrip.answer(second, 10_030);
    expect(roundTrip.ms).toBe(30);
  });

  it('RoundTrip sends 8 bytes that differ from one PING to the next', () => {
    const roundTrip = new RoundTrip();
    const first = roundTrip.ask(0);
    roundTrip.answer(first, 1);
    const second = roundTrip.ask(200);
    expect(first).toHaveLength(8);
    expect(second).not.toEqual(first);
  });

  it('RoundTrip ignores answers that match no PING: late, repeated, forged, or of another length', () => {
    const roundTrip = new RoundTrip();
    const first = roundTrip.ask(0);
    roundTrip.answer(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 99), 1);
    roundTrip.answer(first.subarray(0, 7), 1);
    roundTrip.answer(new Uint8Array(9), 1);
    expect(roundTrip.ms).toBeUndefined();
    roundTrip.answer(first, 30);
    roundTrip.answer(first, 31);
    expect(roundTrip.ms).toBe(30);
    roundTrip.ask(200);
    roundTrip.answer(first, 201);
    expect(roundTrip.ms).toBe(30);
  });

  it('RoundTrip asks again after the link changed, and does not wait for the lost answer', () => {
    const roundTrip = new RoundTrip();
    const lost = roundTrip.ask(0);
    roundTrip.forget();
    roundTrip.answer(lost, 10);
    expect(roundTrip.ms).toBeUndefined();
    expect(roundTrip.due(200)).toBe(true);
  });
});
