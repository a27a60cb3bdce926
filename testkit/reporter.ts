import { appendFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/**
 * Ends a run with the line `N passed, N failed`, and `, N skipped` if tests were skipped. Skipped
 * tests are listed before that line.
 * A file that cannot be loaded and an error outside of tests count as failed, because such a run is
 * not green.
 * The three numbers are also appended to the file that TEST_COUNTS_FILE names.
 */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    const skipped: string[] = [];
    for (const module of modules) {
      failed += module.errors().length;
      for (const suite of module.children.allSuites()) failed += suite.errors().length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
        else skipped.push(`${module.relativeModuleId}: ${test.fullName}`);
      }
    }

    for (const name of skipped) console.log(`skipped: ${name}`);
    const countsFile = process.env['TEST_COUNTS_FILE'];
    if (countsFile !== undefined) {
      appendFileSync(countsFile, `${passed} ${failed} ${skipped.length}\n`);
    }
    const counts = `${passed} passed, ${failed} failed`;
    console.log(skipped.length === 0 ? counts : `${counts}, ${skipped.length} skipped`);
  }
}
