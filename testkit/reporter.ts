import { appendFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/** The longest description of one failure. */
const mostCharacters = 2000;

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
    const failures = unhandledErrors.map((error) => `outside of tests: ${described(error)}`);
    const skipped: string[] = [];
    for (const module of modules) {
      const name = module.relativeModuleId;
      const fail = (what: string, errors: readonly SerializedError[] | undefined): void => {
        failures.push(`${name}: ${what}: ${described(errors?.[0])}`);
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

/**
 * The first line of an error's message, and the lines in which the two values differ. The message
 * alone abridges both values.
 */
function described(error: SerializedError | undefined): string {
  const [message = ''] = (error?.message ?? 'no error was given').split('\n', 1);
  const diff: unknown = error?.['diff'];
  if (typeof diff !== 'string') return message.slice(0, 300);
  const changes = stripVTControlCharacters(diff)
    .split('\n')
    .filter((line) => /^[-+] (?!Expected$|Received$)/.test(line));
  return [message.slice(0, 300), ...changes].join('\n  ').slice(0, mostCharacters);
}

function appendTo(variable: string, text: string): void {
  const file = process.env[variable];
  if (file !== undefined) appendFileSync(file, text);
}
