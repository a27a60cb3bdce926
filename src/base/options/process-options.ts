import { type LogLevel, logLevels } from '../log/log-level.ts';
import type { OptionsTable } from './option-table.ts';

/** What every long-running program has. */
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

/** What a program's `readXOptions` returns: its options, and what its process needs to start with them. */
export interface ProgramOptions<T> {
  readonly options: T;
  readonly logLevel: LogLevel;
  /** Sentences to log at the start. */
  readonly warnings: readonly string[];
}

/** A default for ids of processes: the host's name, and a few letters that tell two of them on one host apart. */
export function processId(hostName: string): string {
  const letters = Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  );
  return `${hostName}-${letters.join('')}`;
}
