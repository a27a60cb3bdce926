import { SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CertificateTokenError,
  makeCertificateToken,
  verifyCertificateToken,
} from '../../../src/base/tokens/certificate-token.ts';
import { AgentAuthority, type AgentCertificate } from '../../../testkit/world/agent-authority.ts';

const nowMs = 1_800_000_000_000;
const at = (seconds = 0) => new Date(nowMs + seconds * 1000);
let authority: AgentAuthority;
let own: AgentCertificate;
beforeAll(async () => {
  authority = await AgentAuthority.create();
  own = await authority.issue();
});

const trusting =
  (cluster = 'c1') =>
  async ([leaf]: readonly Uint8Array[]) => ({
    publicKeyDer: new (await import('../../../src/base/x509/index.ts')).Certificate(leaf!)
      .publicKeyDer,
    cluster,
  });
const codeOf = async (verifying: Promise<unknown>): Promise<string> => {
  try {
    await verifying;
    return 'accepted';
  } catch (thrown) {
    if (thrown instanceof CertificateTokenError) return thrown.code;
    throw thrown;
  }
};

describe('makeCertificateToken', () => {
  it.each(['ec', 'p384', 'rsa', 'ed25519'] as const)(
    'A certificate token with a key of %s is accepted',
    async (kind) => {
      const { key, certificate } = await authority.issue({ kind });
      const token = await makeCertificateToken(key, certificate.der, 'c1', at());
      expect(await verifyCertificateToken(token.reveal(), trusting(), at())).toBe('c1');
      // HTTP servers accept headers of this size, with room for other headers.
      expect(token.reveal().length).toBeLessThan(6_000);
    },
  );

  it.each([
    [0, 'accepted'],
    [89, 'accepted'],
    [91, 'expired'],
    [-29, 'accepted'],
    [-31, 'not_yet_valid'],
  ])('A certificate token %i s after it was made is %s', async (seconds, code) => {
    const token = await makeCertificateToken(own.key, own.certificate.der, 'c1', at());
    expect(await codeOf(verifyCertificateToken(token.reveal(), trusting(), at(seconds)))).toBe(
      code,
    );
  });

  it('A stolen certificate token opens only its own cluster, and only for 90 s', async () => {
    const token = await makeCertificateToken(own.key, own.certificate.der, 'c1', at());
    const show = (seconds: number) =>
      codeOf(verifyCertificateToken(token.reveal(), trusting(), at(seconds)));
    // 60 s, and 30 s for clocks that differ.
    for (const seconds of [1, 1, 60, 89]) expect(await show(seconds)).toBe('accepted');
    for (const seconds of [91, 3600]) expect(await show(seconds)).toBe('expired');
    const other = verifyCertificateToken(token.reveal(), trusting('c2'), at(1));
    expect(await codeOf(other)).toBe('bad_claims');
  });

  it('Each certificate token is different', async () => {
    const make = () => makeCertificateToken(own.key, own.certificate.der, 'c1', at());
    expect((await make()).reveal()).not.toBe((await make()).reveal());
  });

  it('A certificate token is refused when its certificate is not trusted', async () => {
    const token = await makeCertificateToken(own.key, own.certificate.der, 'c1', at());
    const refused = new Error('not of ours');
    const proving = verifyCertificateToken(token.reveal(), () => Promise.reject(refused), at());
    await expect(proving).rejects.toBe(refused);
  });
});

describe('verifyCertificateToken', () => {
  const nowS = nowMs / 1000;
  const good = {
    sub: 'c1',
    iss: 'culvert-agent',
    aud: 'culvert-broker',
    iat: nowS,
    exp: nowS + 60,
  };
  const sign = async (
    claims: Record<string, unknown> = {},
    parts: { key?: AgentCertificate['key']; alg?: string; leaf?: Uint8Array; x5c?: unknown } = {},
  ) => {
    const leaf = Buffer.from(parts.leaf ?? own.certificate.der).toString('base64');
    const x5c = 'x5c' in parts ? parts.x5c : [leaf];
    const header = { alg: parts.alg ?? 'ES256', ...(x5c === undefined ? {} : { x5c }) };
    return await new SignJWT({ ...good, ...claims })
      .setProtectedHeader(header as { alg: string; x5c: string[] })
      .sign(parts.key ?? own.key);
  };

  const cases: readonly (readonly [string, string, () => Promise<string>])[] = [
    ['nothing wrong with it', 'accepted', () => sign()],
    ['another cluster', 'bad_claims', () => sign({ sub: 'c2' })],
    ['no cluster', 'bad_claims', () => sign({ sub: undefined })],
    ['another audience', 'wrong_audience', () => sign({ aud: 'kubernetes' })],
    ['another issuer', 'wrong_issuer', () => sign({ iss: 'culvert' })],
    ['a long life', 'too_long', () => sign({ exp: nowS + 61 })],
    ['a long life that began long ago', 'too_long', () => sign({ iat: nowS - 3600 })],
    ['no end', 'bad_claims', () => sign({ exp: undefined })],
    ['no beginning', 'bad_claims', () => sign({ iat: undefined })],
    ['a beginning in the future', 'not_yet_valid', () => sign({ iat: nowS + 40, exp: nowS + 90 })],
    ['an end in the past', 'expired', () => sign({ iat: nowS - 120, exp: nowS - 60 })],
    ['a time before which it is not valid', 'not_yet_valid', () => sign({ nbf: nowS + 60 })],
    [
      'the key of another certificate',
      'wrong_signature',
      async () => sign({}, { key: (await authority.issue()).key }),
    ],
    [
      'the algorithm of another key',
      'wrong_algorithm',
      async () => {
        const { key } = await authority.issue({ kind: 'ed25519' });
        return await sign({}, { key, alg: 'EdDSA' });
      },
    ],
    [
      'no signature',
      'wrong_algorithm',
      async () => {
        const [, body] = (await sign()).split('.');
        const x5c = [Buffer.from(own.certificate.der).toString('base64')];
        const header = JSON.stringify({ alg: 'none', x5c });
        return `${Buffer.from(header).toString('base64url')}.${body}.`;
      },
    ],
    [
      'the public key as a shared secret',
      'wrong_algorithm',
      async () => {
        const hmac = { name: 'HMAC', hash: 'SHA-256' };
        const raw = own.certificate.publicKeyDer;
        const key = await crypto.subtle.importKey('raw', raw, hmac, false, ['sign']);
        return await sign({}, { key, alg: 'HS256' });
      },
    ],
    ['no certificate', 'malformed', () => sign({}, { x5c: undefined })],
    ['an empty list of certificates', 'malformed', () => sign({}, { x5c: [] })],
    ['certificates that are not base64', 'malformed', () => sign({}, { x5c: ['%%%'] })],
    ['far too many certificates', 'malformed', () => sign({}, { x5c: Array(6).fill('AAAA') })],
    ['far too many characters', 'malformed', async () => `${await sign()}${'A'.repeat(12_288)}`],
    ['no form at all', 'malformed', async () => 'garbage'],
    [
      'a body that was changed',
      'wrong_signature',
      async () => {
        const [head, , signature] = (await sign({ sub: 'c2' })).split('.');
        const body = Buffer.from(JSON.stringify(good)).toString('base64url');
        return `${head}.${body}.${signature}`;
      },
    ],
  ];

  it.each(cases)('A certificate token that has %s is %s', async (_, code, make) => {
    const token = await make();
    expect(await codeOf(verifyCertificateToken(token, trusting(), at()))).toBe(code);
  });

  it.each(cases.filter(([, code]) => code !== 'accepted'))(
    'The error about a certificate token that has %s does not repeat the token',
    async (_, __, make) => {
      const token = await make();
      const failure = await verifyCertificateToken(token, trusting(), at()).catch(String);
      expect(failure).not.toContain(token.split('.').at(-1)?.slice(0, 20) || 'garbage-in');
    },
  );
});
