import { EventEmitter } from 'node:events';
import type { Env } from '../../src/base/options/option-table.ts';
import { runCli } from '../../src/cli/run.ts';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in this process, with its own environment. */
export async function cli(argv: readonly string[], env: Env = {}): Promise<CliResult> {
  let stdout = '';
  let stderr = '';
  const code = await runCli(argv, {
    env,
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
    signals: new EventEmitter(),
  });
  return { code, stdout, stderr };
}
