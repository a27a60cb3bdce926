import { type DestinationStream, pino, stdTimeFunctions } from 'pino';
import { type Clock, systemClock } from '../clock.ts';
import { printableFields } from './printable-fields.ts';
import { standardLogOutput } from './log-output.ts';
import type { Logger } from './logger.ts';
import type { LogFields } from './log-field.ts';
import type { LogLevel } from './log-level.ts';
import { defaultRepeatLimits, RepeatedLines, type RepeatLimits } from './repeated-lines.ts';

export interface PinoLoggerOptions {
  /** The least important level that is written. */
  readonly level: LogLevel;
  /** The stream that receives the lines (default: `standardLogOutput`). */
  readonly destination?: DestinationStream;
  /**
   * How many warnings and errors of one event are written in an interval (default
   * `defaultRepeatLimits`).
   */
  readonly repeatLimits?: RepeatLimits;
  readonly clock?: Clock;
}

/**
 * Writes one JSON object per line: `level`, `time`, `event`, then the fields. It never waits for
 * the reader. A warning or error that repeats is written a few times in an interval, and then once
 * with the number of lines that were left out.
 */
export function createPinoLogger(options: PinoLoggerOptions): Logger {
  const { level, destination, repeatLimits = defaultRepeatLimits, clock = systemClock } = options;
  const logger = pino(
    {
      level,
      base: null,
      messageKey: 'event',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    destination ?? standardLogOutput(),
  );
  return new PinoLogger(logger, new RepeatedLines(clock, repeatLimits));
}

class PinoLogger implements Logger {
  readonly #pino: pino.Logger;
  readonly #repeated: RepeatedLines;

  constructor(logger: pino.Logger, repeated: RepeatedLines) {
    this.#pino = logger;
    this.#repeated = repeated;
  }

  error(event: string, fields: LogFields = {}): void {
    this.#writeUnlessRepeated('error', event, fields);
  }

  warn(event: string, fields: LogFields = {}): void {
    this.#writeUnlessRepeated('warn', event, fields);
  }

  info(event: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled('info')) this.#pino.info(printableFields(fields), event);
  }

  debug(event: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled('debug')) this.#pino.debug(printableFields(fields), event);
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(printableFields(fields)), this.#repeated);
  }

  #writeUnlessRepeated(level: 'warn' | 'error', event: string, fields: LogFields): void {
    if (!this.#pino.isLevelEnabled(level)) return;
    const { code } = fields;
    const kind = typeof code === 'string' ? `${level} ${event} ${code}` : `${level} ${event}`;
    const isWritten = this.#repeated.admit(kind, (leftOut, intervalMs) =>
      this.#pino[level]({ ...(code === undefined ? {} : { code }), leftOut, intervalMs }, event),
    );
    if (isWritten) this.#pino[level](printableFields(fields), event);
  }
}
