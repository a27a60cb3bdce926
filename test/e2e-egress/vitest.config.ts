import { defineConfig } from 'vitest/config';

// `npm run e2e -- egress`: a kube-apiserver whose cluster is in another network namespace. It needs
// root on Linux, and not the clusters of `npm run ground -- up`.
export default defineConfig({
  test: {
    name: 'e2e-egress',
    root: new URL('../..', import.meta.url).pathname,
    include: ['test/e2e-egress/**/*.e2e.ts'],
    globalSetup: ['test/e2e-egress/support/prepare.ts'],
    pool: 'forks',
    // Faults are timed, so nothing else runs beside them.
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 120_000,
    reporters: ['verbose', './testkit/reporter.ts'],
  },
});
