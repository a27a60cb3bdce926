import process from 'node:process';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    name: 'node',
    include: ['test/**/*.test.ts'],
    // Minutes of real faults: named explicitly (npm test -- test/chaos), or as npm run chaos.
    exclude: process.argv.some((argument) => argument.includes('test/chaos'))
      ? []
      : ['test/chaos/**'],
    // Real sockets and child processes: a process of its own per file keeps what leaks where it leaked.
    pool: 'forks',
    testTimeout: 20_000,
    hookTimeout: 20_000,
    reporters: ['default', './test/support/reporter.ts'],
  },
});
