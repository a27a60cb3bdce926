import type { Logger } from '../base/log/logger.ts';
import type { ProgramOptions } from '../base/options/process-options.ts';
import { version } from '../base/version.ts';

/** The logger of a long-running command, with the first lines written: what runs, and what its options warn of. */
export async function startProgramLog(
  program: string,
  { logLevel, warnings }: Pick<ProgramOptions<unknown>, 'logLevel' | 'warnings'>,
): Promise<Logger> {
  const { createPinoLogger } = await import('../base/log/pino-logger.ts');
  const log = createPinoLogger({ level: logLevel }).child({ program });
  log.info('starting', { version, node: process.version });
  for (const warning of warnings) log.warn(warning);
  // The runtime would write them to stderr and wait until somebody reads that.
  process.removeAllListeners('warning');
  process.on('warning', ({ name, message }) => log.warn('runtime warning', { name, message }));
  return log;
}
