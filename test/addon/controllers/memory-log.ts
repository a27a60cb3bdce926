import type { Logger } from '../../../src/base/log/logger.ts';
import type { LogFields } from '../../../src/base/log/log-field.ts';
import { describeError } from '../../../src/base/error.ts';

/** Keeps the log lines in memory. */
export class MemoryLog implements Logger {
  readonly warnings: string[];
  readonly infos: string[];
  readonly #fields: LogFields;

  constructor(fields: LogFields = {}, parent?: MemoryLog) {
    this.#fields = fields;
    this.warnings = parent?.warnings ?? [];
    this.infos = parent?.infos ?? [];
  }

  error(event: string, fields: LogFields = {}): void {
    this.warn(event, fields);
  }

  warn(event: string, fields: LogFields = {}): void {
    this.warnings.push(this.#line(event, fields));
  }

  info(event: string, fields: LogFields = {}): void {
    this.infos.push(this.#line(event, fields));
  }

  debug(): void {}

  child(fields: LogFields): Logger {
    return new MemoryLog({ ...this.#fields, ...fields }, this);
  }

  #line(event: string, fields: LogFields): string {
    const { error, ...rest } = { ...this.#fields, ...fields };
    const detail = error === undefined ? '' : ` ${describeError(error)}`;
    return `${event} ${JSON.stringify(rest)}${detail}`;
  }
}
