import { mkdtemp, readlink, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Logger } from '../../../src/base/log/logger.ts';
import type { LogFields } from '../../../src/base/log/log-field.ts';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { ReloadedFiles } from '../../../src/base/files/reloaded-files.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

let directory: string;
beforeEach(async () => (directory = await mkdtemp(join(tmpdir(), 'culvert-reload-'))));
afterEach(() => rm(directory, { recursive: true }));

async function put(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

async function open(paths: readonly string[]) {
  const lines: (readonly [string, LogFields | undefined])[] = [];
  const say = (event: string, fields?: LogFields) => void lines.push([event, fields]);
  const log: Logger = { ...silentLogger, info: say, error: say };
  const files = await ReloadedFiles.open({
    what: 'two words',
    paths,
    make: (contents) => {
      if (contents.some((text) => text.startsWith('bad'))) throw new Error(`${contents[0]} is bad`);
      return contents.join(' ');
    },
    clock: new VirtualClock(),
    log,
  });
  return { files, lines };
}

describe('ReloadedFiles', () => {
  it('Reloaded files are taken together, once for each change', async () => {
    const paths = [await put('a', 'one'), await put('b', 'two')];
    const { files, lines } = await open(paths);
    const seen: string[] = [];
    files.onChange((value) => seen.push(value));
    await files.look();
    expect([files.value, seen, files.reloads]).toEqual(['one two', [], 0]);
    await put('a', 'uno');
    await files.look();
    await files.look();
    expect([files.value, seen, files.reloads]).toEqual(['uno two', ['uno two'], 1]);
    expect(lines).toEqual([['files reloaded', { what: 'two words', paths }]]);
  });

  it('Reloaded files are checked every few seconds until they are closed', async () => {
    const clock = new VirtualClock();
    let readings = 0;
    const path = await put('a', 'one');
    const make = ([text = '']: readonly string[]) => (readings++, text);
    const options = { what: 'x', paths: [path], make, clock, log: silentLogger };
    const files = await ReloadedFiles.open(options);
    await put('a', 'two');
    await clock.advance(5_000);
    await files.look();
    expect(files.value).toBe('two');
    files.close();
    expect(clock.pendingTimers).toBe(0);
    await put('a', 'three');
    await files.look();
    expect([files.value, readings]).toEqual(['two', 2]);
  });

  it('Reloaded files notice a swapped link, which Kubernetes uses to replace files', async () => {
    await put('v1', 'one');
    await put('v2', 'two');
    const path = join(directory, 'link');
    await symlink('v1', path);
    const { files } = await open([path]);
    await symlink('v2', `${path}.new`);
    await rename(`${path}.new`, path);
    expect(await readlink(path)).toBe('v2');
    await files.look();
    expect(files.value).toBe('two');
  });
});

describe('ReloadedFiles with unusable contents', () => {
  it('Reloaded files with unusable contents keep the last good value, log once and count the refusal', async () => {
    const path = await put('a', 'one');
    const { files, lines } = await open([path]);
    await put('a', 'bad');
    await files.look();
    await files.look();
    expect([files.value, files.stale, files.refusals, files.reloads]).toEqual(['one', true, 1, 0]);
    expect(lines).toEqual([
      [
        'changed files are not usable, the last good ones stay',
        { what: 'two words', paths: [path], error: 'bad is bad' },
      ],
    ]);
    await put('a', 'two');
    await files.look();
    expect([files.value, files.stale, files.reloads]).toEqual(['two', false, 1]);
  });

  it('Reloaded files that change back to the contents in use are not stale', async () => {
    const path = await put('a', 'one');
    const { files } = await open([path]);
    await put('a', 'bad');
    await files.look();
    await put('a', 'one');
    await files.look();
    expect([files.value, files.stale]).toEqual(['one', false]);
  });

  it('Reloaded files keep the last good value when a file is missing', async () => {
    const path = await put('a', 'one');
    const { files, lines } = await open([path]);
    await unlink(path);
    await files.look();
    await files.look();
    expect([files.value, files.stale, lines.length]).toEqual(['one', true, 1]);
  });

  it('Reloaded files keep the last good value when a listener throws', async () => {
    const path = await put('a', 'one');
    const { files } = await open([path]);
    files.onChange(() => {
      throw new Error('not with me');
    });
    await put('a', 'two');
    await files.look();
    expect([files.value, files.stale]).toEqual(['one', true]);
  });

  it('Reloaded files with unusable contents at the start are an error', async () => {
    await expect(open([await put('a', 'bad')])).rejects.toThrow('bad is bad');
    await expect(open([join(directory, 'none')])).rejects.toThrow('ENOENT');
  });
});
