export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Structured logging: a constant event and its fields. error = a person should look, warn = degraded but coping,
 * info = life cycle of a process, tunnel or session, debug = per stream. Credentials and URL queries never reach a field.
 */
export interface Logger {
  error(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
  /** A logger whose lines all carry `fields` as well. */
  child(fields: LogFields): Logger;
}

/** Says nothing; for library users who pass no logger. */
export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLogger,
};
