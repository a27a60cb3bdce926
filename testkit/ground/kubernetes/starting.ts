import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Report } from '../../../testkit/ground/go-build.ts';
import {
  isAlive,
  recordOf,
  type ProcessRecord,
} from '../../../testkit/ground/kubernetes/processes.ts';
import { stateDirectory } from './state.ts';

// Outside of the state directory, because `up` prepares programs and images for minutes before it
// makes that directory.
const defaultFile = `${stateDirectory}.starting`;

interface Progress {
  readonly process: ProcessRecord;
  readonly step: string;
}

/** Lets other processes see how far `up` is, until it is disposed of. */
export class StartingGround implements Disposable {
  readonly #process: ProcessRecord;
  readonly #report: Report;
  readonly #file: string;

  private constructor(process: ProcessRecord, report: Report, file: string) {
    this.#process = process;
    this.#report = report;
    this.#file = file;
  }

  static async begin(report: Report, file = defaultFile): Promise<StartingGround> {
    const starting = new StartingGround(await recordOf(process.pid), report, file);
    starting.#write('preparing programs and images');
    return starting;
  }

  /** Reports a line and keeps it as the current step. */
  readonly report: Report = (line) => {
    this.#write(line);
    this.#report(line);
  };

  #write(step: string): void {
    writeFileSync(this.#file, JSON.stringify({ process: this.#process, step } satisfies Progress));
  }

  [Symbol.dispose](): void {
    rmSync(this.#file, { force: true });
  }
}

/** The current step of a running `up` in any process. The file of a killed `up` is ignored. */
export async function startingStep(file = defaultFile): Promise<string | undefined> {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
  const { process, step } = JSON.parse(text) as Progress;
  return (await isAlive(process)) ? step : undefined;
}

/** The message of a command that finds no test clusters. */
export async function noGroundMessage(file = defaultFile): Promise<string> {
  const step = await startingStep(file);
  return step === undefined
    ? 'no ground is up: npm run ground -- up'
    : `the ground is starting: ${step}`;
}
