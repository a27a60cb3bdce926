import { type DestinationStream, pino, stdTimeFunctions } from 'pino';
import { describeError } from './error.ts';
import type { LogFields, Logger } from './logger.ts';
import type { LogLevel } from './options-common.ts';

export interface PinoLoggerOptions {
  /** The least important level that is written. */
  readonly level: LogLevel;
  /** Where lines go (default: stdout, written before the call returns, so that the last words of a process are kept). */
  readonly destination?: DestinationStream;
}

/** One JSON object per line: `level`, `time`, `event`, then the fields. */
export function createPinoLogger({ level, destination }: PinoLoggerOptions): Logger {
  return new PinoLogger(
    pino(
      {
        level,
        base: null,
        messageKey: 'event',
        timestamp: stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      destination ?? pino.destination({ dest: 1, sync: true }),
    ),
  );
}

class PinoLogger implements Logger {
  readonly #pino: pino.Logger;

  constructor(logger: pino.Logger) {
    this.#pino = logger;
  }

  error(event: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled('error')) this.#pino.error(printable(fields), event);
  }

  warn(event: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled('warn')) this.#pino.warn(printable(fields), event);
  }

  info(event: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled('info')) this.#pino.info(printable(fields), event);
  }

  debug(event: string, fields: LogFields = {}): void {
    if (this.#pino.isLevelEnabled('debug')) this.#pino.debug(printable(fields), event);
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(printable(fields)));
  }
}

// The last word of a field's name decides: `token`, `bearerToken`, `proxy-authorization`; but not `tokenFile`, not `monkey`.
const secretWords = new Set(['token', 'authorization', 'password', 'secret', 'key', 'cookie']);
const lastWord = (name: string) =>
  name
    .split(/[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])/)
    .at(-1)!
    .toLowerCase();
const deepest = 4;

function printable(fields: LogFields, depth = 0): Record<string, unknown> {
  const clean: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    clean[name] =
      secretWords.has(lastWord(name)) && value !== undefined
        ? '[redacted]'
        : printableValue(value, depth);
  }
  return clean;
}

function printableValue(value: unknown, depth: number): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return printableError(value);
  // Queries and userinfo of URLs are where credentials hide.
  if (value instanceof URL) return `${value.protocol}//${value.host}${value.pathname}`;
  if (depth >= deepest) return '[deeper]';
  if (Array.isArray(value)) return value.map((item) => printableValue(item, depth + 1));
  const own = Object.getPrototypeOf(value) as unknown;
  // Anything with a class of its own (Secret, Date) says by toJSON how it wants to be written.
  if (own !== Object.prototype && own !== null) return value;
  return printable(value as LogFields, depth + 1);
}

/** The sentences of the whole chain, the code that callers branch on, and where it came from when nobody gave it a code. */
function printableError(error: Error): Record<string, unknown> {
  const { code } = error as { code?: unknown };
  const message = describeError(error);
  return code === undefined
    ? { name: error.name, message, stack: error.stack }
    : { name: error.name, code, message };
}
