import { defineConfig } from 'vitest/config';

const shared = {
  // Tests use real sockets and child processes. With one process per file, a leak stays in its file.
  pool: 'forks',
  testTimeout: 20_000,
  hookTimeout: 20_000,
} as const;

// Every test file belongs to one of these projects; test/suites.test.ts checks that.
// `npm test` runs `quick`, `npm run test:full` runs the others.
export default defineConfig({
  test: {
    reporters: ['default', './testkit/reporter.ts'],
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
        // Real API servers, helm, and limits that are minutes long.
        test: {
          ...shared,
          name: 'full',
          include: ['test/**/*.full.test.ts'],
          exclude: ['test/chaos/**'],
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
