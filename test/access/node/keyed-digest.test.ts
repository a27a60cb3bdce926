import { describe, expect, it } from 'vitest';
import { keyedDigest } from '../../../src/access/node/keyed-digest.ts';

describe('The keyed digest on Node', () => {
  it('The digest of a text is always the same, has 32 characters, and differs between texts', () => {
    const texts = ['', 'token', 'Token', 'a longer token'.repeat(1_000), '\u00e9', 'e\u0301'];
    const digests = texts.map(keyedDigest);
    expect(digests).toEqual(texts.map(keyedDigest));
    expect(new Set(digests).size).toBe(texts.length);
    expect(digests.map(({ length }) => length)).toEqual(texts.map(() => 32));
  });

  it('The digest is not the plain SHA-256 of a text, so nobody else can compute it', async () => {
    const plain = await crypto.subtle.digest('SHA-256', new TextEncoder().encode('token'));
    expect(Buffer.from(keyedDigest('token'), 'latin1')).not.toEqual(Buffer.from(plain));
  });
});
