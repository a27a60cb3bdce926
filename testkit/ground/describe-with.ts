import { describe, expect, it } from 'vitest';
import { isMissing, type Missing } from './cache.ts';

type Requirements = Readonly<Record<string, object>>;
type Present<R extends Requirements> = { [Key in keyof R]: Exclude<R[Key], Missing> };

/**
 * A suite that needs real programs, for example
 * `describeWith({ go: await ground.go() }, title, ({ go }) => ...)`.
 * Without them, the suite is one skipped test that names the missing programs and the reasons. With
 * CI=true, this test fails.
 */
export function describeWith<R extends Requirements>(
  requirements: R,
  title: string,
  suite: (present: Present<R>) => void,
): void {
  const missing = Object.values(requirements).filter(isMissing);
  // oxlint-disable-next-line vitest/valid-title -- the title is the caller's
  describe(title, () => {
    if (missing.length === 0) {
      // No requirement is missing, so the type is Present.
      suite(requirements as Present<R>);
      return;
    }
    const reasons = missing.map(({ missing: what, reason }) => `${what} (${reason})`).join(', ');
    it(`is left out for want of ${reasons}`, ({ skip }) => {
      skip(process.env['CI'] !== 'true');
      expect(missing, 'CI=true leaves nothing out').toEqual([]);
    });
  });
}
