import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** In which the files run; others come last, by name. */
const order = [
  'install',
  'entrypoints',
  'settings',
  'tls-profile',
  'certificates',
  'manager',
  'identity',
  'fleet',
];

class InOrder extends BaseSequencer {
  override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const at = order.indexOf(basename(moduleId, '.e2e.ts'));
      return `${at === -1 ? order.length : at} ${moduleId}`;
    };
    return Promise.resolve(files.sort((a, b) => rank(a).localeCompare(rank(b))));
  }
}

// npm run e2e: on clusters that are up. They are one for all files, so those run one at a time.
export default defineConfig({
  test: {
    name: 'e2e',
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/e2e-ground/**/*.e2e.ts'],
    globalSetup: ['test/e2e-ground/support/prepare.ts', 'test/e2e-ground/support/leave-nothing.ts'],
    pool: 'forks',
    fileParallelism: false,
    sequence: { sequencer: InOrder },
    testTimeout: 240_000,
    hookTimeout: 180_000,
    reporters: ['verbose', './testkit/reporter.ts'],
  },
});
