import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  noGroundMessage,
  StartingGround,
  startingStep,
} from '../../../testkit/ground/kubernetes/starting.ts';

describe('test clusters that are starting', () => {
  let directory: string;
  let file: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'culvert-starting-'));
    file = join(directory, 'starting');
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it('The status names the current step until the start of the test clusters has ended', async () => {
    const lines: string[] = [];
    expect(await noGroundMessage(file)).toBe('no ground is up: npm run ground -- up');
    {
      using starting = await StartingGround.begin((line) => lines.push(line), file);
      expect(await noGroundMessage(file)).toBe(
        'the ground is starting: preparing programs and images',
      );
      starting.report('hub node is Ready');
      expect(await startingStep(file)).toBe('hub node is Ready');
    }
    expect(lines).toEqual(['hub node is Ready']);
    expect(await startingStep(file)).toBeUndefined();
  });

  it('The status ignores the file of a start that was killed', async () => {
    using _ = await StartingGround.begin(() => {}, file);
    const progress = JSON.parse(readFileSync(file, 'utf8')) as { process: { startTicks: string } };
    writeFileSync(
      file,
      JSON.stringify({ ...progress, process: { ...progress.process, startTicks: '1' } }),
    );
    expect(await startingStep(file)).toBeUndefined();
  });
});
