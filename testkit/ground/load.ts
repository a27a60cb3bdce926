import { startProgram, type Program } from '../processes/process.ts';
import type { GoPrograms } from './go-programs.ts';

const resultTimeoutMs = 120_000;

/** The Go target of all measurements; it stops when its scope ends. */
export interface LoadTarget extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  readonly program: Program;
}

export interface LoadResult {
  /** blast, drain: millions of bytes per second that reached the reader in the window. */
  readonly mbPerSecond?: number;
  readonly bytes?: number;
  /** blast, drain: the measured length of the window. */
  readonly seconds?: number;
  /** pingpong: one round trip; dial: one dial, tunnel included. */
  readonly p50Micros?: number;
  readonly p99Micros?: number;
  readonly closeP50Micros?: number;
  readonly closeP99Micros?: number;
}

export async function startLoadTarget(go: GoPrograms): Promise<LoadTarget> {
  const program = startProgram({ command: go.load, args: ['target'], name: 'load target' });
  const [, address = ''] = await program.waitForLine(/"address":"([^"]+)"/);
  return { address, program, [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
}

/**
 * Runs one measurement, e.g. `['blast', '--front', address, '--to', target, '--streams', '16']`.
 *
 * @param onSteady called when the warm-up is over and the measured window begins; the result is the
 *   window's end
 */
export async function runLoad(
  go: GoPrograms,
  args: readonly string[],
  onSteady?: () => void,
): Promise<LoadResult> {
  await using program = startProgram({ command: go.load, args, name: `load ${args[0]}` });
  const wait = { timeoutMs: resultTimeoutMs };
  await program.waitForLine(/"event":"steady"/, wait);
  onSteady?.();
  const [line] = await program.waitForLine(/^.*"event":"done".*$/, wait);
  return JSON.parse(line) as LoadResult;
}
