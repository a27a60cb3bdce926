import type { Logger } from '../../base/log/logger.ts';
import { logLevels, type LogLevel } from '../../base/log/log-level.ts';
import { printableFields } from '../../base/log/printable-fields.ts';
import type { LogFields } from '../../base/log/log-field.ts';

/**
 * Writes one JSON object per line to the console, from which the runtime collects logs. It never
 * blocks.
 */
export function createConsoleLogger(level: LogLevel, fields: LogFields = {}): Logger {
  const own = printableFields(fields);
  const least = logLevels.indexOf(level);
  const line =
    (of: LogLevel) =>
    (event: string, more: LogFields = {}) => {
      if (logLevels.indexOf(of) > least) return;
      // oxlint-disable-next-line no-console -- there is no other way to log on this runtime
      console[of](JSON.stringify({ level: of, event, ...own, ...printableFields(more) }));
    };
  return {
    error: line('error'),
    warn: line('warn'),
    info: line('info'),
    debug: line('debug'),
    child: (more) => createConsoleLogger(level, { ...fields, ...more }),
  };
}
