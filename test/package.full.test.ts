import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../testkit/processes/process.ts';

interface Manifest {
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as Manifest;
/** An installation may take long where the registry is far away. */
const installTimeoutMs = 180_000;

async function run(cwd: string, command: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, output } = await runProgram({
    command,
    args,
    cwd,
    env: { NODE_ENV: undefined, npm_config_cache: process.env['npm_config_cache'] },
    timeoutMs: installTimeoutMs,
  });
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${output}`);
  return stdout;
}

describe('the npm package', () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'culvert-package-'));
    await run(root, 'npm', 'pack', '--pack-destination', directory);
    const tarball = join(directory, `culvert-${manifest.version}.tgz`);
    await writeFile(join(directory, 'package.json'), '{"name": "consumer", "type": "module"}');
    const peers = ['@grpc/grpc-js', '@grpc/proto-loader', '@types/node'].map(
      (name) => `${name}@${manifest.devDependencies[name]}`,
    );
    const flags = ['--prefer-offline', '--no-audit', '--no-fund'];
    await run(directory, 'npm', 'install', ...flags, tarball, ...peers);
  }, installTimeoutMs);
  afterAll(() => rm(directory, { recursive: true, force: true }));

  it('holds the built programs and libraries, and no sources or tests', async () => {
    const listed = await run(directory, 'tar', '-tzf', `culvert-${manifest.version}.tgz`);
    const folders = listed.split('\n').flatMap((path) => path.split('/').slice(1, 2));
    expect(new Set(folders.filter((name) => name !== ''))).toEqual(
      new Set(['LICENSE', 'README.md', 'dist', 'lib', 'package.json']),
    );
  });

  it('installs a program that prints the version of the package', async () => {
    const program = join(directory, 'node_modules/.bin/culvert');
    expect(await run(directory, program, '--version')).toBe(`${manifest.version}\n`);
  });

  it('installs no package that the programs do not need', async () => {
    const installed = JSON.parse(
      await readFile(join(directory, 'node_modules/culvert/package.json'), 'utf8'),
    ) as { dependencies?: object };
    expect(installed.dependencies).toBeUndefined();
  });

  it('has entries that a module imports', async () => {
    const entries = Object.keys(manifest.exports).filter((entry) => !entry.endsWith('.json'));
    expect(entries).toEqual(['./tunnel', './dialer', './konnectivity-client']);
    const script = `
      import { memoryLinkPair, Session, TunnelError } from 'culvert/tunnel';
      import * as dialer from 'culvert/dialer';
      import { KonnectivityClient } from 'culvert/konnectivity-client';
      if (dialer.TunnelError !== TunnelError) throw new Error('there are two TunnelErrors');
      if (memoryLinkPair === undefined) throw new Error('there is no memoryLinkPair');
      new KonnectivityClient({ address: '127.0.0.1:1' }).close();
      console.log(Session.name, dialer.createRemoteDialer.name);
    `;
    await writeFile(join(directory, 'consumer.mjs'), script);
    expect(await run(directory, process.execPath, 'consumer.mjs')).toBe(
      'Session createRemoteDialer\n',
    );
  });

  it('has type declarations that a strict consumer compiles against', async () => {
    const source = `
      import { Session, TunnelError, type TunnelErrorCode } from 'culvert/tunnel';
      import { createRemoteDialer, type Dialer, type RemoteDialerOptions } from 'culvert/dialer';
      import { KonnectivityClient } from 'culvert/konnectivity-client';
      import type { Duplex } from 'node:stream';
      export const open = (options: RemoteDialerOptions): Dialer => createRemoteDialer(options);
      export const codeOf = (error: TunnelError): TunnelErrorCode => error.code;
      export const dial = (client: KonnectivityClient): Promise<Duplex> => client.dial('a:1');
      // @ts-expect-error -- a session needs its options
      export const session = new Session();
    `;
    await writeFile(join(directory, 'consumer.ts'), source);
    const flags = ['--strict', '--noEmit', '--module', 'nodenext', '--types', 'node'];
    const strictest = ['--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess'];
    const tsc = join(root, 'node_modules/.bin/tsc');
    await run(directory, tsc, ...flags, '--target', 'es2024', ...strictest, 'consumer.ts');
  });
});
