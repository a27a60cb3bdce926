import { describe, expect, it } from 'vitest';
import { retryAfterMs } from '../../../src/base/net/http-answer.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const wait = (value?: string) =>
  retryAfterMs({ headers: new Map(value === undefined ? [] : [['retry-after', value]]) }, nowMs);

describe('retryAfterMs', () => {
  it.each([
    ['0', 0],
    ['3', 3_000],
    ['Thu, 01 Jan 2026 00:01:00 GMT', 60_000],
    ['Thu, 01 Jan 2015 00:00:00 GMT', 0],
  ])('Retry-After: %s is %d ms', (value, ms) => {
    expect(wait(value)).toBe(ms);
  });

  it.each(['3601', '2592000', '9'.repeat(400), 'Fri, 01 Jan 2100 00:00:00 GMT'])(
    'Retry-After: %s is an hour, because a timer of more than 24 days would fire at once',
    (value) => {
      expect(wait(value)).toBe(3_600_000);
    },
  );

  it('A missing or malformed Retry-After is none', () => {
    expect([wait(), wait('soon')]).toEqual([undefined, undefined]);
  });
});
