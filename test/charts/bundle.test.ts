import { readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { version } from '../../src/base/version.ts';
import { run } from '../../testkit/ground/kubernetes/run.ts';
import { startProgram } from '../../testkit/processes/process.ts';

const script = fileURLToPath(new URL('../../scripts/build.ts', import.meta.url));
const node = process.execPath;

describe('The bundle', () => {
  let directory: string;
  let program: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'culvert-bundle-'));
    program = join(directory, 'culvert.mjs');
    await run({ command: node, args: [script, directory] });
  });
  afterAll(() => rm(directory, { recursive: true }));

  it('The bundle needs only Node', async () => {
    const args = [program, '--version'];
    expect(await run({ command: node, args, cwd: directory })).toBe(`${version}\n`);
    await using dev = startProgram({
      command: node,
      args: [
        ...[program, 'dev', '--listen=127.0.0.1:0', '--konnectivity-listen=127.0.0.1:0'],
        '--gateway-listen=127.0.0.1:0',
      ],
      cwd: directory,
    });
    await dev.waitForLine(/Ctrl-C ends it/);
    dev.kill('SIGTERM');
    expect(await dev.exited).toEqual({ code: 0, signal: null });
  });

  it.each([
    ['the addon manager', 'ClusterManagementAddOn', ['agent', 'broker', 'bridge']],
    ['X.509', 'reflect-metadata', ['agent', 'bridge']],
    ['Redis', 'SentinelConnector', ['agent', 'bridge']],
  ])('The bundle starts without %s in programs that do not need it', (_what, mark, programs) => {
    const parts = readdirSync(join(directory, 'parts')).map((name) =>
      join(directory, 'parts', name),
    );
    const has = (file: string) => readFileSync(file, 'utf8').includes(mark);
    // Otherwise the mark is wrong.
    expect(parts.filter(has)).not.toEqual([]);
    for (const name of programs) {
      const part = parts.filter((file) => new RegExp(`/${name}-[A-Z0-9]{8}\\.mjs$`).test(file));
      expect(part).toHaveLength(1);
      expect([...loadedWith(program), ...loadedWith(part[0]!)].filter(has)).toEqual([]);
    }
  });

  it('The bundle names the licences of its packages', () => {
    const text = readFileSync(join(directory, 'LICENSES.txt'), 'utf8');
    for (const name of ['hono', 'ioredis', 'pino', 'jose', '@hono/node-server']) {
      expect(text).toMatch(new RegExp(`^${name} \\d+\\.`, 'm'));
    }
    expect(text).not.toContain('no licence named');
  });

  it('The bundle is an executable file', () => {
    expect(statSync(program).mode & 0o111).toBe(0o111);
    expect(readFileSync(program, 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/);
  });
});

/** The files that are loaded together with one, by imports that do not wait. */
function loadedWith(file: string, found = new Set<string>()): ReadonlySet<string> {
  if (found.has(file)) return found;
  found.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, path] of text.matchAll(/(?:\bfrom|\bimport)\s*"(\.[^"]+)"/g)) {
    loadedWith(resolve(dirname(file), path!), found);
  }
  return found;
}
