import { describe, expect, it } from 'vitest';
import { contentHash, specHash } from '../../../src/addon/api/spec-hash.ts';

const object = (rest: object) => ({
  apiVersion: 'config.test/v1',
  kind: 'Config',
  metadata: { name: 'name', namespace: 'namespace' },
  ...rest,
});

describe('specHash', () => {
  // The hashes of addon-framework v1.3.0. The first two are from its own tests.
  it.each([
    [
      'nothing but a status',
      { status: { condition: 'test' } },
      '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
    ],
    [
      'a specification',
      { spec: { test: 1 } },
      'af144391b79b4b07bd7c579980ae9ed42dc8e34f7babebbf3fd08cacb578fba4',
    ],
  ])('specHash returns the hash that OCM computes for %s', (_, rest, hash) => {
    expect(specHash(object(rest))).toBe(hash);
  });

  it('specHash escapes, orders and writes numbers as Go does', () => {
    const spec = {
      '9': 'a<b>&c\u2028\u2029',
      '10': [1, 1e21, 0.000_000_1, -1.5, true, null, '"\\\n\t\u0001\u007fü'],
      B: {},
      a: { z: [], y: {} },
    };
    expect(specHash(object({ spec }))).toBe(
      'aa0ec4d0ce43075f4948260ed2c9669de9f44f54a21acafd5fa9c35146253146',
    );
  });
});

describe('contentHash', () => {
  it('contentHash depends on values, not on the order of keys or on undefined fields', () => {
    expect(contentHash({ a: 1, b: 2 })).toBe(contentHash({ b: 2, a: 1, c: undefined }));
    expect(contentHash([1, 2])).not.toBe(contentHash([2, 1]));
  });
});
