import type { LogFields } from './log-field.ts';

/**
 * Structured logging: a constant event and its fields. Level `error` needs a person, `warn` is
 * degraded service, `info` is the life of processes, tunnels and sessions, `debug` is each stream.
 * Fields never hold credentials or the query of a URL.
 */
export interface Logger {
  error(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  debug(event: string, fields?: LogFields): void;
  /** A logger that adds `fields` to all its lines. */
  child(fields: LogFields): Logger;
}

/** Drops every line. The library uses it when a caller passes no logger. */
export const silentLogger: Logger = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLogger,
};
