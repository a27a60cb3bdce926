import { mkdtemp, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LastGoodCa } from '../../../src/base/tls/last-good-ca.ts';
import { type Logger, silentLogger } from '../../../src/base/log/logger.ts';
import type { LogFields } from '../../../src/base/log/log-field.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';

let directory: string;
let [first, second] = ['', ''];
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-last-good-ca-'));
  await using certificates = await makeTestCertificates();
  first = await readFile(certificates.server.ca, 'utf8');
  second = await readFile(certificates.client.ca, 'utf8');
});
afterAll(() => rm(directory, { recursive: true }));

function opened() {
  const lines: (readonly [string, LogFields | undefined])[] = [];
  const say = (event: string, fields?: LogFields) => void lines.push([event, fields]);
  const log: Logger = { ...silentLogger, info: say, error: say };
  return { ca: new LastGoodCa('--ca-file', log), lines };
}

it('LastGoodCa names the option, the file and the reason when there is no good version yet', async () => {
  const { ca, lines } = opened();
  const path = join(directory, 'bad');
  await expect(ca.readFile(path)).rejects.toThrow(`--ca-file=${path} cannot be read: ENOENT`);
  await writeFile(path, '');
  await expect(ca.readFile(path)).rejects.toThrow(`--ca-file=${path} cannot be used: it is empty`);
  expect([lines, ca.stale]).toEqual([[], false]);
});

it('LastGoodCa keeps the last good version, logs once for each change, and takes the next good version', async () => {
  const { ca, lines } = opened();
  const path = join(directory, 'changing');
  const put = async (text: string) => {
    await writeFile(path, text);
    return await ca.readFile(path);
  };
  const one = await put(first);
  expect(await put('')).toBe(one);
  expect(await ca.readFile(path)).toBe(one);
  expect([ca.stale, ca.refusals, ca.reloads]).toEqual([true, 1, 0]);
  expect(await put(first.slice(0, 200))).toBe(one);
  await unlink(path);
  expect(await ca.readFile(path)).toBe(one);
  await ca.look();
  expect([ca.stale, ca.refusals]).toEqual([true, 3]);
  expect(lines.map(([event]) => event)).toEqual(
    Array.from({ length: 3 }, () => 'changed files are not usable, the last good ones stay'),
  );
  expect(lines.map(([, fields]) => fields)).toMatchObject([
    { what: '--ca-file', paths: [path], error: expect.stringContaining('it is empty') },
    { what: '--ca-file', paths: [path], error: expect.stringContaining('is cut off') },
    { what: '--ca-file', paths: [path], error: expect.stringContaining('ENOENT') },
  ]);
  const two = await put(second);
  expect(two).not.toBe(one);
  expect([ca.stale, ca.reloads, lines.at(-1)?.[0]]).toEqual([false, 1, 'files reloaded']);
});

it('LastGoodCa becomes good again when the same version is restored', async () => {
  const { ca } = opened();
  const one = ca.take(first, 'a field');
  ca.take('', 'a field');
  expect(ca.stale).toBe(true);
  expect(ca.take(first, 'a field')).toBe(one);
  expect(ca.stale).toBe(false);
});
