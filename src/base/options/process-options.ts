import { type LogLevel, logLevels } from '../log/log-level.ts';
import type { OptionsTable } from './option-table.ts';

/** Options that every long-running program has. */
export const processTable = {
  drainTimeoutMs: {
    name: 'drain-timeout',
    kind: 'durationMs',
    default: '30s',
    help: 'How long open streams may continue after SIGTERM before they are reset.',
  },
  logLevel: {
    name: 'log-level',
    kind: 'choice',
    choices: logLevels,
    default: 'info',
    help: 'The least important level to log: error, warn, info or debug.',
  },
} as const satisfies OptionsTable;

/**
 * The result of a program's `readXOptions`: its options, and the settings with which its process
 * starts.
 */
export interface ProgramOptions<T> {
  readonly options: T;
  readonly logLevel: LogLevel;
  /** Sentences to log at the start. */
  readonly warnings: readonly string[];
}

/**
 * A default id for a process: the host's name and random digits, which distinguish two processes on
 * one host.
 */
export function processId(hostName: string): string {
  const letters = Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  );
  return `${hostName}-${letters.join('')}`;
}
