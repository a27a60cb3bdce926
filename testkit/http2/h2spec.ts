import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostPort } from '../../src/base/net/host-port.ts';
import { runProgram } from '../processes/process.ts';

export interface SpecReport {
  readonly passed: number;
  /** The section and title of each case. */
  readonly failed: readonly string[];
}

/** Runs h2spec against a server. */
export async function runH2spec(
  h2spec: string,
  { host, port }: HostPort,
  more: readonly string[],
): Promise<SpecReport> {
  const directory = await mkdtemp(join(tmpdir(), 'h2spec-'));
  try {
    const report = join(directory, 'report.xml');
    await runProgram({
      command: h2spec,
      args: ['--strict', '-h', host, '-p', String(port), '-j', report, ...more],
      timeoutMs: 5 * 60_000,
    });
    return parseReport(await readFile(report, 'utf8'));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Reads h2spec's report in the format of JUnit. */
function parseReport(xml: string): SpecReport {
  const cases = [
    ...xml.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g),
  ];
  const isFailed = (outcome: string) => /<(error|failure)>/.test(outcome);
  return {
    passed: cases.filter(([, , , outcome = '']) => outcome.trim() === '').length,
    failed: cases
      .filter(([, , , outcome = '']) => isFailed(outcome))
      .map(
        ([, section, title]) =>
          `${section}: ${title?.replaceAll('&#39;', "'").replaceAll('&#34;', '"')}`,
      ),
  };
}
