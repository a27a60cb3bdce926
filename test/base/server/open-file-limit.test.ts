import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { connectionShare, openFileLimit } from '../../../src/base/server/open-file-limit.ts';

const limitsWith =
  (soft: string, hard = soft) =>
  () =>
    `Limit                     Soft Limit           Hard Limit           Units\n` +
    `Max processes             63000                63000                processes\n` +
    `Max open files            ${soft.padEnd(20)} ${hard.padEnd(20)} files\n`;

describe('openFileLimit and connectionShare', () => {
  it('The limit of open files is the soft limit of this process', () => {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))!;
    expect(openFileLimit()).toBe(Number(soft));
  });

  it.each([
    [limitsWith('256', '4096'), 256],
    [limitsWith('unlimited'), 1024 * 1024],
    [limitsWith('1073741816'), 1024 * 1024],
    [() => '', 1024],
  ])('The limit of open files is read from the limits in /proc', (read, limit) => {
    expect(openFileLimit(read)).toBe(limit);
  });

  it.each([64, 256, 1024, 65_536, 1024 * 1024])(
    'A limit of %d open files leaves descriptors for everything except connections',
    (limit) => {
      const all = connectionShare(1, limit);
      expect(limit - all).toBeGreaterThanOrEqual(32);
      expect(limit - all).toBeLessThanOrEqual(Math.max(32, limit / 4));
      const shares = [1 / 2, 1 / 4, 1 / 4].map((share) => connectionShare(share, limit));
      expect(shares.reduce((a, b) => a + b)).toBeLessThanOrEqual(all);
    },
  );
});
