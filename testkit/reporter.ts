import { appendFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/**
 * Ends a run with the line `N passed, N failed`, and `, N skipped` if tests were skipped. Failed and
 * skipped tests are listed before that line.
 * A file that cannot be loaded and an error outside of tests count as failed, because such a run is
 * not green.
 * The three numbers are also appended to the file that TEST_COUNTS_FILE names, and the list of
 * failures to the file that TEST_FAILURES_FILE names, for a log that keeps only its end.
 */
export default class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    let passed = 0;
    const failures = unhandledErrors.map((error) => `outside of tests: ${firstLine(error)}`);
    const skipped: string[] = [];
    for (const module of modules) {
      const name = module.relativeModuleId;
      const fail = (what: string, errors: readonly SerializedError[] | undefined): void => {
        failures.push(`${name}: ${what}: ${firstLine(errors?.[0])}`);
      };
      for (const error of module.errors()) fail('the file', [error]);
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors()) fail(suite.fullName, [error]);
      }
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        if (state === 'passed') passed++;
        else if (state === 'failed') fail(test.fullName, errors);
        else skipped.push(`${name}: ${test.fullName}`);
      }
    }

    for (const name of skipped) console.log(`skipped: ${name}`);
    for (const failure of failures) console.log(`failed: ${failure}`);
    appendTo('TEST_COUNTS_FILE', `${passed} ${failures.length} ${skipped.length}\n`);
    appendTo('TEST_FAILURES_FILE', failures.map((failure) => `failed: ${failure}\n`).join(''));
    const counts = `${passed} passed, ${failures.length} failed`;
    console.log(skipped.length === 0 ? counts : `${counts}, ${skipped.length} skipped`);
  }
}

function firstLine(error: SerializedError | undefined): string {
  const text = error?.message ?? 'no error was given';
  return (text.split('\n', 1)[0] ?? '').slice(0, 300);
}

function appendTo(variable: string, text: string): void {
  const file = process.env[variable];
  if (file !== undefined) appendFileSync(file, text);
}
