import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { readSecretFile } from '../../src/base/files/secret-file.ts';
import { Secret } from '../../src/base/secret.ts';

describe('Secret', () => {
  const secret = new Secret('sesame');

  it.each([
    ['a string', String(secret)],
    ['JSON', JSON.stringify({ secret })],
    ['inspect', inspect({ nested: { secret } }, { depth: 9, showHidden: true })],
  ])('A secret shows [redacted] as %s', (_, printed) => {
    expect(printed).toContain('[redacted]');
    expect(printed).not.toContain('sesame');
  });

  it('A secret gives its text only through reveal()', () => {
    expect(secret.reveal()).toBe('sesame');
  });
});

describe('readSecretFile', () => {
  it('readSecretFile reads the file again at each call, without the white space around the text', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'culvert-secret-'));
    const path = join(folder, 'token');
    try {
      writeFileSync(path, 'one\n');
      expect((await readSecretFile(path)).reveal()).toBe('one');
      writeFileSync(path, ' two\r\n');
      expect((await readSecretFile(path)).reveal()).toBe('two');
      writeFileSync(path, '\n');
      await expect(readSecretFile(path)).rejects.toThrow(`${path} is empty`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
