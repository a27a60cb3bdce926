import type { Logger } from '../base/log/logger.ts';
import type { ProgramOptions } from '../base/options/process-options.ts';
import { version } from '../base/version.ts';

/**
 * Creates the logger of a long-running command. Logs the start of the program and the warnings
 * about its options.
 */
export async function startProgramLog(
  program: string,
  { logLevel, warnings }: Pick<ProgramOptions<unknown>, 'logLevel' | 'warnings'>,
): Promise<Logger> {
  const { createPinoLogger } = await import('../base/log/pino-logger.ts');
  const log = createPinoLogger({ level: logLevel }).child({ program });
  log.info('starting', { version, node: process.version });
  for (const warning of warnings) log.warn(warning);
  // Removes the listener of the runtime, which would write warnings to stderr and block until they
  // are read.
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => log.warn('runtime warning', { name, message }));
  return log;
}
