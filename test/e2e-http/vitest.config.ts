import { defineConfig } from 'vitest/config';

// `npm run e2e -- http`: real clients of the HTTP plane on real kube-apiservers. It needs root on
// Linux, and not the clusters of `npm run ground -- up`.
export default defineConfig({
  test: {
    name: 'e2e-http',
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/e2e-http/**/*.e2e.ts'],
    globalSetup: ['test/e2e-http/support/prepare.ts'],
    pool: 'forks',
    // Each file starts three kube-apiservers.
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 180_000,
    reporters: ['verbose', './testkit/reporter.ts'],
  },
});
