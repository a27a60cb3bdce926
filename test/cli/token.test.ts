import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TokenVerifier } from '../../src/base/tokens/enrolment-token.ts';
import { cli } from './captured-cli.ts';

let folder: string;
let key: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-token-'));
  key = join(folder, 'signing.key');
});
afterEach(() => rmSync(folder, { recursive: true }));

const verifierFor = (keyFile: string, now?: () => Date) =>
  TokenVerifier.fromPem([readFileSync(`${keyFile}.pub`, 'utf8')], now);

describe('culvert token keygen', () => {
  it('culvert token keygen writes a private key that only its owner can read, and the public key next to it', async () => {
    const { code, stdout, stderr } = await cli(['token', 'keygen', '--key', key]);
    expect(code).toBe(0);
    expect(stdout).toBe('');
    expect(stderr).toContain(`culvert broker --token-public-key ${key}.pub`);
    expect(statSync(key).mode & 0o777).toBe(0o600);
    expect(readFileSync(key, 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    expect(readFileSync(`${key}.pub`, 'utf8')).toMatch(/^-----BEGIN PUBLIC KEY-----\n/);
  });

  it('culvert token keygen replaces neither key, and leaves no half of a pair', async () => {
    writeFileSync(`${key}.pub`, 'precious');
    const { code, stderr } = await cli(['token', 'keygen', '--key', key]);
    expect(code).toBe(2);
    expect(stderr).toContain(`${key}.pub exists already, name another file with --key`);
    expect(existsSync(key)).toBe(false);
    expect(readFileSync(`${key}.pub`, 'utf8')).toBe('precious');

    writeFileSync(key, 'precious');
    expect((await cli(['token', 'keygen', '--key', key])).stderr).toContain(
      `${key} exists already`,
    );
    expect(readFileSync(key, 'utf8')).toBe('precious');
  });
});

describe('culvert token agent and dialer', () => {
  beforeEach(async () => {
    await cli(['token', 'keygen', '--key', key]);
  });

  it('culvert token agent prints only the token to stdout, and the next steps to stderr', async () => {
    const argv = ['token', 'agent', '--cluster', '1st', '--key', key];
    const { code, stdout, stderr } = await cli(argv);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
    expect(stderr).toContain('culvert agent --broker-url wss://BROKER --cluster 1st');
    expect(stderr).not.toContain(stdout.trim());
    const verifier = await verifierFor(key);
    expect(await verifier.verify(stdout.trim())).toEqual({ kind: 'agent', cluster: '1st' });
  });

  it('culvert token dialer puts the name of the caller into the token', async () => {
    const { stdout } = await cli(['token', 'dialer', '--name', 'bridge-1', '--key', key]);
    const verifier = await verifierFor(key);
    expect(await verifier.verify(stdout.trim())).toMatchObject({
      kind: 'dialer',
      name: 'bridge-1',
    });
    const refused = await cli(['token', 'dialer', '--name', 'two words', '--key', key]);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('--name="two words" is not a caller\'s name');
  });

  it('culvert token dialer limits the token to the clusters that --cluster names', async () => {
    const argv = ['token', 'dialer', '--name', 'ci', '--key', key];
    const { stdout } = await cli([...argv, '--cluster', 'c1', '--cluster', 'c2']);
    const verifier = await verifierFor(key);
    expect(await verifier.verify(stdout.trim())).toMatchObject({
      kind: 'dialer',
      name: 'ci',
      clusters: ['c1', 'c2'],
    });
    const refused = await cli([...argv, '--cluster', 'C1']);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
  });

  it('culvert token dialer limits the token by labels, and gives it an id to revoke it by', async () => {
    const argv = ['token', 'dialer', '--name', 'ci', '--key', key];
    const labelled = await cli([...argv, '--selector', 'env in (test,dev)', '--id', 'ci-7']);
    const verifier = await verifierFor(key);
    expect(await verifier.verify(labelled.stdout.trim())).toMatchObject({
      selector: 'env in (test,dev)',
      id: 'ci-7',
    });
    expect(labelled.stderr).toContain('The id of the token is ci-7.');
    const random = await cli(argv);
    const { id } = (await verifier.verify(random.stdout.trim())) as { id?: string };
    expect(random.stderr).toContain(`The id of the token is ${id}.`);
    expect((await cli([...argv, '--selector', 'env in'])).stderr).toContain('no label selector');
    expect((await cli([...argv, '--id', 'a b'])).stderr).toContain("is not a token's id");
  });

  it('A token of culvert token agent is valid for --ttl', async () => {
    const argv = ['token', 'agent', '--cluster', 'c1', '--key', key, '--ttl', '2h'];
    const token = (await cli(argv)).stdout.trim();
    const inHours = (hours: number) => () => new Date(Date.now() + hours * 3_600_000);
    await expect((await verifierFor(key, inHours(1.9))).verify(token)).resolves.toBeDefined();
    await expect((await verifierFor(key, inHours(2.1))).verify(token)).rejects.toMatchObject({
      code: 'expired',
    });
  });

  it('culvert token agent reports the problem with the key', async () => {
    const withPublicKey = ['token', 'agent', '--cluster', 'c1', '--key', `${key}.pub`];
    expect((await cli(withPublicKey)).stderr).toContain(
      `--key=${key}.pub: a private key is needed, this is the public one of a pair`,
    );
    const withNone = ['token', 'agent', '--cluster', 'c1', '--key', join(folder, 'none')];
    expect(await cli(withNone)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('cannot be read: no such file') as string,
    });
  });
});
