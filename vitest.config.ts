import { defineConfig } from 'vitest/config';

/**
 * `npm test` runs the files named `*.test.ts`, which take a few minutes together. `npm run test:full` runs `*.full.test.ts`:
 * tests that need an API server, helm or upstream's programs, that attack, kill or freeze running programs for long, or
 * that wait for limits of a minute. test/suites.test.ts checks that each file runs in exactly one project of one suite.
 */
export const suites = { quick: ['quick'], full: ['full', 'chaos'] } as const;

const shared = {
  // Tests use real sockets and child processes. With one process per file, a leak stays in its file.
  pool: 'forks',
  // Only tests that hang take this long. On a busy machine a test of one second can take twenty.
  testTimeout: 60_000,
  hookTimeout: 60_000,
} as const;

export default defineConfig({
  test: {
    reporters: ['default', './testkit/reporter.ts'],
    // Tests wait for peers and timers for half of their time, so there is work for more processes than CPUs.
    maxWorkers: 4,
    projects: [
      {
        test: {
          ...shared,
          name: 'quick',
          include: ['test/**/*.test.ts'],
          exclude: ['test/**/*.full.test.ts'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          ...shared,
          name: 'full',
          include: ['test/**/*.full.test.ts'],
          exclude: ['test/chaos/**'],
          // API servers and attacks measure CPU time and memory, so they share the machine with one other file.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        // Chaos tests kill and freeze a dozen processes each. They run alone, one file at a time.
        test: {
          ...shared,
          name: 'chaos',
          include: ['test/chaos/**/*.full.test.ts'],
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
