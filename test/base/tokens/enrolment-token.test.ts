import { generateKeyPairSync } from 'node:crypto';
import { inspect } from 'node:util';
import { SignJWT, decodeJwt, importPKCS8, type JWTPayload } from 'jose';
import { describe, expect, it } from 'vitest';
import {
  generateTokenKeyPair,
  issueToken,
  TokenError,
  TokenVerifier,
} from '../../../src/base/tokens/enrolment-token.ts';
import { Secret } from '../../../src/base/secret.ts';

const now = new Date('2026-11-22T12:00:00Z');
const hourMs = 3_600_000;
const pair = await generateTokenKeyPair();
const otherPair = await generateTokenKeyPair();
const verifier = await TokenVerifier.fromPem([pair.publicKeyPem], () => now);
const agent = { kind: 'agent', cluster: '1st-cluster' } as const;

const good = { sub: 'agent', cluster: 'c1', iss: 'culvert', aud: 'culvert-broker' };
const inAnHour = Math.floor(now.getTime() / 1000) + 3600;
const dialerClaims = { ...good, sub: 'dialer', name: 'ci', exp: inAnHour };
const scopedClaims = { ...dialerClaims, sub: 'scoped-dialer' };
const longLabel = 'a'.repeat(64);

/** A token with claims that the test chooses, signed with the right key. */
async function forge(claims: JWTPayload, key = pair): Promise<string> {
  const privateKey = await importPKCS8(key.privateKeyPem.reveal(), 'EdDSA');
  return new SignJWT(claims).setProtectedHeader({ alg: 'EdDSA' }).sign(privateKey);
}

async function failureOf(token: string, by = verifier): Promise<TokenError> {
  const thrown: unknown = await by.verify(token).catch((error: unknown) => error);
  if (thrown instanceof TokenError) return thrown;
  throw new Error(`accepted, or failed without a code: ${inspect(thrown)}`);
}

describe('enrolment tokens', () => {
  it('An enrolment token tells the verifier the cluster of an agent', async () => {
    const token = await issueToken(pair.privateKeyPem, agent, hourMs, now);
    expect(await verifier.verify(token.reveal())).toEqual(agent);
  });

  it('An enrolment token tells the verifier the name of a dialer', async () => {
    const dialer = { kind: 'dialer', name: 'bridge-1' } as const;
    const token = await issueToken(pair.privateKeyPem, dialer, hourMs, now);
    expect(await verifier.verify(token.reveal())).toEqual({
      ...dialer,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      // Verifiers allow for clocks that differ by 30 s.
      expiresAtMs: Math.floor(now.getTime() / 1000) * 1000 + hourMs + 30_000,
    });
  });

  it('An enrolment token without an id, of an earlier version, is accepted', async () => {
    const token = await forge({ ...dialerClaims, sub: 'dialer' });
    expect(await verifier.verify(token)).not.toHaveProperty('id');
  });

  it('An enrolment token tells the verifier the label selector of a dialer', async () => {
    const dialer = { kind: 'dialer', name: 'ci', selector: 'env=test', id: 'ci-1' } as const;
    const token = (await issueToken(pair.privateKeyPem, dialer, hourMs, now)).reveal();
    expect(await verifier.verify(token)).toMatchObject(dialer);
    // Earlier brokers need a list of clusters for this subject, so they refuse the token.
    expect(decodeJwt(token)).toMatchObject({ sub: 'scoped-dialer', jti: 'ci-1' });
    expect(decodeJwt(token)).not.toHaveProperty('clusters');
  });

  it('An enrolment token tells the verifier the clusters of a dialer', async () => {
    const dialer = { kind: 'dialer', name: 'ci', clusters: ['c1', 'c2'] } as const;
    const token = (await issueToken(pair.privateKeyPem, dialer, hourMs, now)).reveal();
    expect(await verifier.verify(token)).toMatchObject(dialer);
    // Earlier brokers know no clusters. They refuse this subject, and must not ignore the list.
    expect(decodeJwt(token).sub).toBe('scoped-dialer');
  });

  it.each([[[]], [['C1']], [[`cluster-${'0'.repeat(48)}`]]])(
    'No enrolment token of a dialer is issued for the clusters %j',
    async (clusters) => {
      const issued = issueToken(
        pair.privateKeyPem,
        { kind: 'dialer', name: 'ci', clusters },
        hourMs,
      );
      await expect(issued).rejects.toMatchObject({ code: 'bad_claims' });
    },
  );

  it.each([
    ['', [otherPair.publicKeyPem, pair.publicKeyPem]],
    [' of one file', [`${otherPair.publicKeyPem}\n${pair.publicKeyPem}`]],
  ])(
    'Enrolment tokens are accepted from any of several keys%s, so that keys can rotate',
    async (_where, pems) => {
      const both = await TokenVerifier.fromPem(pems, () => now);
      for (const { privateKeyPem } of [pair, otherPair]) {
        const token = await issueToken(privateKeyPem, agent, hourMs, now);
        expect(await both.verify(token.reveal())).toEqual(agent);
      }
    },
  );

  it('An enrolment token expires, with 30 s of tolerance for clocks that differ', async () => {
    const token = (await issueToken(pair.privateKeyPem, agent, hourMs, now)).reveal();
    const after = (seconds: number) =>
      TokenVerifier.fromPem(
        [pair.publicKeyPem],
        () => new Date(now.getTime() + hourMs + seconds * 1000),
      );
    expect(await (await after(29)).verify(token)).toEqual(agent);
    const failure = await failureOf(token, await after(31));
    expect(failure.code).toBe('expired');
    expect(failure.message).toContain('2026-11-22T13:00:00.000Z');
  });

  it.each([
    ['malformed', 'a text that is not a token', () => 'not.a.token'],
    ['malformed', 'nothing', () => ''],
    ['malformed', 'more than any token', () => 'x'.repeat(5000)],
    ['wrong_key', 'another key', () => forge({ ...good, exp: inAnHour }, otherPair)],
    ['expired', 'the past', () => forge({ ...good, exp: inAnHour - 7200 })],
    ['not_yet_valid', 'the future', () => forge({ ...good, exp: inAnHour, nbf: inAnHour })],
    ['wrong_issuer', 'another issuer', () => forge({ ...good, exp: inAnHour, iss: 'someone' })],
    ['wrong_audience', 'another use', () => forge({ ...good, exp: inAnHour, aud: 'someone' })],
    ['bad_claims', 'no expiry', () => forge(good)],
    ['bad_claims', 'no label', () => forge({ ...good, exp: inAnHour, cluster: 'Not A Label' })],
    ['bad_claims', 'a long label', () => forge({ ...good, exp: inAnHour, cluster: longLabel })],
    ['bad_claims', 'another role', () => forge({ ...good, exp: inAnHour, sub: 'admin' })],
    ['bad_claims', 'an agent as dialer', () => forge({ ...good, exp: inAnHour, sub: 'dialer' })],
    ['bad_claims', 'no list of clusters', () => forge(scopedClaims)],
    ['bad_claims', 'a text as list', () => forge({ ...scopedClaims, clusters: 'c1' })],
    ['bad_claims', 'an empty list', () => forge({ ...scopedClaims, clusters: [] })],
    ['bad_claims', 'a number in the list', () => forge({ ...scopedClaims, clusters: ['c1', 2] })],
    ['bad_claims', 'no selector', () => forge({ ...scopedClaims, selector: '' })],
    ['bad_claims', 'a list as selector', () => forge({ ...scopedClaims, selector: ['a=b'] })],
    [
      'bad_claims',
      'a list as selector beside clusters',
      () => forge({ ...scopedClaims, clusters: ['c1'], selector: ['a=b'] }),
    ],
    ['bad_claims', 'an id with spaces', () => forge({ ...dialerClaims, jti: 'a b' })],
    ['bad_claims', 'a name with spaces', () => forge({ ...dialerClaims, name: 'two words' })],
  ])('An enrolment token fails as %s: %s', async (code, _, token) => {
    expect((await failureOf(await token())).code).toBe(code);
  });

  it('An enrolment token must be signed with EdDSA, whatever its header names', async () => {
    const shared = new TextEncoder().encode(pair.publicKeyPem);
    const confused = await new SignJWT({ ...good, exp: inAnHour })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(shared);
    expect((await failureOf(confused)).code).toBe('wrong_algorithm');
    const [, claims] = confused.split('.');
    const header = Buffer.from('{"alg":"none"}').toString('base64url');
    expect((await failureOf(`${header}.${claims}.`)).code).toBe('wrong_algorithm');
  });

  it('The error about an enrolment token does not repeat the token', async () => {
    const token = await forge({ ...good, exp: inAnHour - 7200 });
    const printed = inspect(await failureOf(token), { depth: 9, showHidden: true });
    for (const part of token.split('.')) expect(printed).not.toContain(part);
  });

  it('An enrolment token is not issued with a name that no verifier would accept', async () => {
    const subject = { kind: 'agent', cluster: 'Not A Label' } as const;
    await expect(issueToken(pair.privateKeyPem, subject, hourMs)).rejects.toMatchObject({
      code: 'bad_claims',
    });
  });
});

describe('keys of enrolment tokens', () => {
  const rsa = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });

  it.each([
    ['the private key of the pair', pair.privateKeyPem.reveal(), 'this is the private one'],
    ['a key of another kind', rsa.publicKey, 'not an Ed25519 public key'],
    ['no key', 'hello', 'not an Ed25519 public key'],
  ])('The verifier of enrolment tokens refuses a key: %s', async (_, pem, message) => {
    const failure: unknown = await TokenVerifier.fromPem([pem]).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'bad_key', message: expect.stringContaining(message) });
    expect(inspect(failure, { depth: 9 })).not.toContain(pem.split('\n')[1] ?? pem);
  });

  it('The verifier of enrolment tokens is refused without a key, instead of accepting every token', async () => {
    await expect(TokenVerifier.fromPem([])).rejects.toMatchObject({ code: 'bad_key' });
  });

  it('The issuer of enrolment tokens refuses a public key', async () => {
    await expect(issueToken(new Secret(pair.publicKeyPem), agent, hourMs)).rejects.toMatchObject({
      code: 'bad_key',
    });
  });
});
