import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';

/** The commands that put the files of the runtime into /image. */
function runtimeCommands(): string {
  const dockerfile = readFileSync(new URL('../Dockerfile', import.meta.url), 'utf8');
  return /^RUN (set -eu;.*?[^\\])$/ms.exec(dockerfile)![1]!.replaceAll('\\\n', '');
}

it.runIf(process.platform === 'linux')(
  'The image has a /tmp that its user may write to, as culvert dev and culvert token keygen do',
  () => {
    const image = mkdtempSync(join(tmpdir(), 'culvert-image-'));
    onTestFinished(() => rmSync(image, { recursive: true }));
    const commands = runtimeCommands().replaceAll('/image', image);
    const { status, stderr } = spawnSync('sh', ['-c', commands], { encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(statSync(join(image, 'tmp')).mode & 0o7777).toBe(0o1777);
  },
);
