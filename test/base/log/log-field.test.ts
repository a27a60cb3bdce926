import { expect, it } from 'vitest';
import { silentLogger } from '../../../src/base/log/logger.ts';

it('The compiler refuses a log field that is not in the list of names', () => {
  const log = (): void => {
    // @ts-expect-error -- the names for this are `error` and `reason`
    silentLogger.warn('connection refused', { why: 'no credential' });
    // @ts-expect-error -- a child logger has the same fields
    silentLogger.child({ clusterName: 'c1' });
    silentLogger.warn('connection refused', { reason: 'no credential', cluster: 'c1' });
  };
  expect(log).not.toThrow();
});
