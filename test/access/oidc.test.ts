import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { OidcAuthenticator } from '../../src/access/oidc-authenticator.ts';
import { type OidcOptions, oidcOptionProblems } from '../../src/access/oidc-options.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const issuerUrl = 'https://issuer.example.com/realm';
const keysUrl = 'https://keys.example.com/jwks';
const nowMs = Date.UTC(2026, 0, 1);
const nowS = nowMs / 1000;

async function makeKey(kid: string, alg: string) {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  const sign = (claims: Claims, header: { kid?: string } = { kid }) =>
    new SignJWT({ iss: issuerUrl, aud: 'gateway', sub: 'alice', exp: nowS + 60, ...claims })
      .setProtectedHeader({ alg, ...header })
      .sign(privateKey);
  return { jwk, sign };
}
let first: Awaited<ReturnType<typeof makeKey>>;
let second: Awaited<ReturnType<typeof makeKey>>;
let elliptic: Awaited<ReturnType<typeof makeKey>>;
beforeAll(async () => {
  [first, second, elliptic] = await Promise.all([
    makeKey('1', 'RS256'),
    makeKey('2', 'RS256'),
    makeKey('e', 'ES256'),
  ]);
});

type Answers = Record<string, unknown>;
type Claims = Record<string, unknown>;

async function issuerOf(options: Partial<OidcOptions> = {}, answers: Answers = {}) {
  const clock = new VirtualClock(20);
  const asked: string[] = [];
  const served: Answers = {
    [`${issuerUrl}/.well-known/openid-configuration`]: { issuer: issuerUrl, jwks_uri: keysUrl },
    [keysUrl]: { keys: [first.jwk, elliptic.jwk] },
    ...answers,
  };
  const fetchJson = async (url: URL) => {
    asked.push(url.href);
    const answer = served[url.href];
    if (answer === undefined || answer instanceof Error) throw answer ?? new Error('404');
    return answer;
  };
  const authenticator = new OidcAuthenticator(
    { issuerUrl, clientId: 'gateway', ...options },
    { clock, log: silentLogger, now: () => new Date(nowMs) },
  );
  authenticator.use(fetchJson);
  await clock.advance(0);
  return { authenticator, served, asked, clock, fetchJson };
}

describe('A token of an OIDC issuer', () => {
  const prefixed = `${issuerUrl}#alice`;
  const email = { usernameClaim: 'email' };
  const groups = { groupsClaim: 'groups' };

  it.each<[string, Claims, Partial<OidcOptions>, string, string[]]>([
    ['the default claim', {}, {}, prefixed, []],
    ['no prefix', {}, { usernamePrefix: '-' }, 'alice', []],
    ['an own prefix', {}, { usernamePrefix: 'oidc:' }, 'oidc:alice', []],
    ['an email', { email: 'a@b.c' }, email, 'a@b.c', []],
    ['a verified email', { email: 'a@b.c', email_verified: true }, email, 'a@b.c', []],
    [
      'an email with a prefix',
      { email: 'a@b.c' },
      { ...email, usernamePrefix: 'oidc:' },
      'oidc:a@b.c',
      [],
    ],
    [
      'a list of groups',
      { groups: ['a', 'b'] },
      { ...groups, groupsPrefix: 'g:' },
      prefixed,
      ['g:a', 'g:b'],
    ],
    ['one group as a text', { groups: 'a' }, groups, prefixed, ['a']],
    ['no groups', {}, groups, prefixed, []],
    ['groups nobody asked for', { groups: ['a'] }, {}, prefixed, []],
    ['several audiences', { aud: ['other', 'gateway'] }, {}, prefixed, []],
    ['a required claim', { hd: 'x' }, { requiredClaims: { hd: 'x' } }, prefixed, []],
    [
      'another list of reserved prefixes',
      { sub: 'system:x' },
      { usernamePrefix: '-', reservedNamePrefixes: ['corp:'] },
      'system:x',
      [],
    ],
    [
      'no reserved prefixes',
      { sub: 'system:x' },
      { usernamePrefix: '-', reservedNamePrefixes: [] },
      'system:x',
      [],
    ],
    ['a start that is only a little early', { nbf: nowS + 200 }, {}, prefixed, []],
  ])('A token with %s is accepted', async (_, claims, options, user, ofGroups) => {
    const { authenticator } = await issuerOf(options);
    const subject = await authenticator.authenticate(await first.sign({ jti: 'id', ...claims }));
    expect(subject).toEqual({
      user,
      groups: ofGroups,
      source: 'oidc',
      credential: { kind: 'token', id: 'id' },
      expiresAtMs: nowMs + 60_000,
    });
  });

  it.each<[string, Claims, Partial<OidcOptions>]>([
    ['has expired', { exp: nowS }, {}],
    ['has expired a second ago', { exp: nowS - 1 }, {}],
    ['never expires', { exp: undefined }, {}],
    ['is not valid yet', { nbf: nowS + 301 }, {}],
    ['is for another audience', { aud: 'other' }, {}],
    ['is for no audience', { aud: undefined }, {}],
    ['has no user', { sub: undefined }, {}],
    ['has an empty user', { sub: '' }, {}],
    ['has a user that is no text', { name: ['x'] }, { usernameClaim: 'name' }],
    ['takes the user from Object.prototype', {}, { usernameClaim: 'constructor' }],
    ['has an email that is not verified', { email: 'a@b', email_verified: false }, email],
    ['has an email verified as a text', { email: 'a@b', email_verified: 'true' }, email],
    ['has a reserved user', { sub: 'system:admin' }, { usernamePrefix: '-' }],
    ['becomes a reserved user by its prefix', { sub: 'x' }, { usernamePrefix: 'system:' }],
    ['has a reserved group', { groups: ['system:masters'] }, groups],
    [
      'becomes a reserved group by its prefix',
      { groups: ['m'] },
      { ...groups, groupsPrefix: 'system:' },
    ],
    ['has an own reserved group', { groups: ['c:x'] }, { ...groups, reservedNamePrefixes: ['c:'] }],
    ['has a group that is no text', { groups: ['a', 1] }, groups],
    ['has groups that are an object', { groups: { a: 1 } }, groups],
    ['has 1,001 groups', { groups: Array.from({ length: 1_001 }, String) }, groups],
    ['has a header in its user', { sub: 'a\r\nImpersonate-Group: x' }, {}],
    ['lacks a required claim', {}, { requiredClaims: { hd: 'x' } }],
    ['has another required claim', { hd: 'X' }, { requiredClaims: { hd: 'x' } }],
    ['has a required claim as a list', { hd: ['x'] }, { requiredClaims: { hd: 'x' } }],
  ])('A token that %s is refused', async (_, claims, options) => {
    const { authenticator } = await issuerOf(options);
    expect(await authenticator.authenticate(await first.sign(claims))).toBeUndefined();
  });

  it('A token of another issuer is not looked at', async () => {
    const { authenticator } = await issuerOf();
    authenticator.disable('off');
    const foreign = await first.sign({ iss: `${issuerUrl}/` });
    expect(await authenticator.authenticate(foreign)).toBeUndefined();
    expect(await authenticator.authenticate('no token')).toBeUndefined();
  });

  it('A token with an algorithm that is not allowed is refused', async () => {
    const unsigned = new UnsecuredJWT({
      iss: issuerUrl,
      aud: 'gateway',
      sub: 'alice',
      exp: nowS + 60,
    }).encode();
    const { authenticator } = await issuerOf();
    expect(await authenticator.authenticate(await elliptic.sign({}))).toBeUndefined();
    expect(await authenticator.authenticate(unsigned)).toBeUndefined();
    // The public key as the secret of a symmetric algorithm.
    const secret = new TextEncoder().encode(JSON.stringify(first.jwk));
    const symmetric = await new SignJWT({
      iss: issuerUrl,
      aud: 'gateway',
      sub: 'a',
      exp: nowS + 60,
    })
      .setProtectedHeader({ alg: 'HS256', kid: '1' })
      .sign(secret);
    expect(await authenticator.authenticate(symmetric)).toBeUndefined();
    const both = await issuerOf({ signingAlgs: ['RS256', 'ES256'] });
    expect(await both.authenticator.authenticate(await elliptic.sign({}))).toBeDefined();
  });

  it('A token that names no key is verified with each key', async () => {
    const { authenticator, served } = await issuerOf();
    expect(await authenticator.authenticate(await first.sign({}, {}))).toBeDefined();
    const several = await issuerOf({}, { [keysUrl]: { keys: [second.jwk, first.jwk] } });
    expect(await several.authenticator.authenticate(await first.sign({}, {}))).toBeDefined();
    expect(served[keysUrl]).toBeDefined();
    expect(await authenticator.authenticate(await second.sign({}, { kid: '1' }))).toBeUndefined();
  });

  it('New keys are read when a token names an unknown key, and forged tokens share few reads', async () => {
    const { authenticator, served, asked, clock } = await issuerOf();
    await clock.advance(5_000);
    served[keysUrl] = { keys: [first.jwk, second.jwk] };
    asked.length = 0;
    expect(await authenticator.authenticate(await second.sign({}))).toBeDefined();
    const forged = await second.sign({}, { kid: 'forged' });
    for (let number = 0; number < 20; number++) {
      expect(await authenticator.authenticate(forged)).toBeUndefined();
    }
    expect(asked).toEqual([keysUrl]);
    await clock.advance(5_000);
    served[keysUrl] = new Error('away');
    await expect(authenticator.authenticate(forged)).rejects.toThrow(
      expect.objectContaining({ code: 'unavailable' }),
    );
    expect(await authenticator.authenticate(await first.sign({}))).toBeDefined();
  });
});

describe('The discovery of an OIDC issuer', () => {
  it('An issuer that is away makes its tokens unavailable until the discovery succeeds', async () => {
    const { authenticator, served, clock } = await issuerOf({}, { [keysUrl]: new Error('away') });
    const token = await first.sign({});
    await expect(authenticator.authenticate(token)).rejects.toThrow(
      expect.objectContaining({
        code: 'unavailable',
        message: `oidc: authenticator for issuer "${issuerUrl}" is not initialized`,
      }),
    );
    served[keysUrl] = { keys: [first.jwk] };
    await clock.advance(10_000);
    expect(authenticator.unready).toBeUndefined();
    expect(await authenticator.authenticate(token)).toBeDefined();
  });

  const discovery = `${issuerUrl}/.well-known/openid-configuration`;
  it.each<[string, Answers]>([
    ['of another issuer', { [discovery]: { issuer: 'https://evil', jwks_uri: keysUrl } }],
    ['without keys', { [discovery]: { issuer: issuerUrl } }],
    [
      'with keys over plain HTTP',
      { [discovery]: { issuer: issuerUrl, jwks_uri: 'http://keys.example.com/jwks' } },
    ],
    ['that is null', { [discovery]: null }],
    ['whose keys are no key set', { [keysUrl]: { keys: 'x' } }],
  ])('A discovery document %s is refused', async (_, answers) => {
    const { authenticator } = await issuerOf({}, answers);
    expect(authenticator.unready).toContain('is not initialized');
  });

  it('A CA that is removed turns the issuer off at once, and another CA turns it on again', async () => {
    const { authenticator, fetchJson, clock } = await issuerOf();
    const token = await first.sign({});
    const pending = authenticator.authenticate(token);
    authenticator.disable('the CA of the OIDC issuer cannot be read');
    await expect(pending).rejects.toThrow('cannot be read');
    await expect(authenticator.authenticate(token)).rejects.toThrow('cannot be read');
    // Nothing is tried again by itself.
    await clock.advance(60_000);
    await expect(authenticator.authenticate(token)).rejects.toThrow('cannot be read');
    authenticator.use(fetchJson);
    await expect(authenticator.authenticate(token)).rejects.toThrow('is not initialized');
    await clock.advance(0);
    expect(await authenticator.authenticate(token)).toBeDefined();
  });

  it('A request to the issuer ends after 15 s, and the discovery starts again', async () => {
    const clock = new VirtualClock(20);
    const authenticator = new OidcAuthenticator(
      { issuerUrl, clientId: 'gateway' },
      { clock, log: silentLogger },
    );
    let requests = 0;
    authenticator.use((_, signal) => {
      requests++;
      return new Promise((__, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error));
      });
    });
    await clock.advance(24_999);
    expect(requests).toBe(1);
    await clock.advance(1);
    expect(requests).toBe(2);
    authenticator[Symbol.dispose]();
  });
});

describe('The options of an OIDC issuer', () => {
  it.each<[Partial<OidcOptions>, string]>([
    [{}, ''],
    [{ issuerUrl: '', clientId: '' }, ''],
    [{ issuerUrl: '', clientId: '', groupsClaim: 'g', signingAlgs: ['none'] }, ''],
    [{ clientId: '' }, 'must be specified together'],
    [{ issuerUrl: '' }, 'must be specified together'],
    [{ issuerUrl: 'http://issuer' }, 'must begin with https://'],
    [{ issuerUrl: 'https://u:p@issuer' }, 'must begin with https://'],
    [{ issuerUrl: 'https://issuer?x' }, 'must begin with https://'],
    [{ issuerUrl: 'https://issuer#' }, 'must begin with https://'],
    [{ issuerUrl: 'issuer' }, 'must begin with https://'],
    [{ signingAlgs: ['RS256', 'HS256'] }, 'unsupported OIDC signing algorithm "HS256"'],
    [{ signingAlgs: ['none'] }, 'unsupported OIDC signing algorithm "none"'],
    [{ reservedNamePrefixes: ['a', ''] }, 'must not contain an empty prefix'],
    [{ reservedNamePrefixes: [`"quote'`] }, ''],
    [{ reservedNamePrefixes: [] }, ''],
    [{ usernameClaim: '' }, 'must not be empty'],
    [{ requiredClaims: { '': 'x' } }, 'must not have an empty name'],
  ])('The options %j have the problem "%s"', (options, problem) => {
    const problems = oidcOptionProblems({ issuerUrl, clientId: 'gateway', ...options });
    expect(problems).toHaveLength(problem === '' ? 0 : 1);
    expect(problems.join()).toContain(problem);
  });
});
