import type { LogFields, Logger } from '../../../src/base/logger.ts';
import { describeError } from '../../../src/base/error.ts';

/** Keeps what is said aloud. */
export class MemoryLog implements Logger {
  readonly warnings: string[];
  readonly #fields: LogFields;

  constructor(warnings: string[] = [], fields: LogFields = {}) {
    this.warnings = warnings;
    this.#fields = fields;
  }

  error(event: string, fields: LogFields = {}): void {
    this.warn(event, fields);
  }

  warn(event: string, fields: LogFields = {}): void {
    const { error, ...rest } = { ...this.#fields, ...fields };
    const why = error === undefined ? '' : ` ${describeError(error)}`;
    this.warnings.push(`${event} ${JSON.stringify(rest)}${why}`);
  }

  info(): void {}
  debug(): void {}

  child(fields: LogFields): Logger {
    return new MemoryLog(this.warnings, { ...this.#fields, ...fields });
  }
}
