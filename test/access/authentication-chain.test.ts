import { describe, expect, it } from 'vitest';
import { AccessError } from '../../src/access/access-error.ts';
import {
  AuthenticationChain,
  type AuthenticationChainOptions,
} from '../../src/access/authentication-chain.ts';
import { KubeTokenAuthenticator } from '../../src/access/kube-token-authenticator.ts';
import type { RequestCredentials } from '../../src/access/request-authenticator.ts';
import type { Subject } from '../../src/access/subject.ts';
import type { TokenAuthenticator } from '../../src/access/token-authenticator.ts';
import type { TokenReviewStatus } from '../../src/access/token-review.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const { signal } = new AbortController();
const certificate = {
  commonNames: ['alice'],
  organizations: ['team-a'],
  serial: '1f',
  issuer: 'CN=people',
  expiresAtMs: 4e12,
};

/** Knows the tokens of a table. An error is thrown. */
function knows(tokens: Readonly<Record<string, Subject | Error>>) {
  const asked: string[] = [];
  const authenticator: TokenAuthenticator = {
    async authenticate(token) {
      asked.push(token);
      const known = tokens[token];
      if (known instanceof Error) throw known;
      return known;
    },
  };
  return { asked, authenticator };
}

const subjectOf = (user: string, source: Subject['source'], ...groups: string[]): Subject => ({
  user,
  groups,
  uid: 'a uid',
  extra: { scopes: ['x'] },
  source,
});

const bearer = (token: string, ...headerNames: string[]): RequestCredentials => ({
  headerNames: ['Authorization', ...headerNames],
  authorization: [`Bearer ${token}`],
});

const account = 'system:serviceaccount:ns:robot';
const managed = knows({
  m: subjectOf(account, 'managed-token'),
  both: subjectOf('x', 'managed-token'),
});
const hub = knows({
  h: subjectOf(account, 'hub-token', 'system:serviceaccounts', 'system:authenticated'),
  person: subjectOf('alice', 'hub-token', 'admins'),
  both: subjectOf('y', 'hub-token'),
  'hub-down': new AccessError('unavailable', 'connection refused'),
});
const oidc = knows({
  o: subjectOf('oidc:bob', 'oidc', 'devs'),
  'hub-down': subjectOf('never', 'oidc'),
});
const chain = (options: Partial<AuthenticationChainOptions> = {}) =>
  new AuthenticationChain({
    managed: managed.authenticator,
    hub: hub.authenticator,
    oidc: oidc.authenticator,
    ...options,
  });

/** Rejects with what the chain throws. */
const authenticate = async (by: AuthenticationChain, credentials: RequestCredentials) =>
  await by.authenticate(credentials, 'c1', signal);

describe('The chain of authentication', () => {
  it('The chain forwards a token that the managed cluster knows, and asks nobody else', async () => {
    hub.asked.length = 0;
    const answer = await chain().authenticate(bearer('both'), 'c1', signal);
    expect(answer).toMatchObject({ kind: 'forward', subject: { user: 'x' } });
    expect(hub.asked).toEqual([]);
  });

  it('The chain gives a hub ServiceAccount its prefix and drops uid and extra', async () => {
    const answer = await chain().authenticate(bearer('h'), 'c1', signal);
    expect(answer).toMatchObject({
      kind: 'impersonate',
      user: `cluster:hub:${account}`,
      groups: ['system:serviceaccounts', 'system:authenticated'],
      subject: { user: account },
    });
    expect(Object.keys(answer).toSorted()).toEqual(['groups', 'kind', 'subject', 'user']);
  });

  it('The chain leaves the name and the groups of a hub user as they are', async () => {
    const answer = await chain().authenticate(bearer('person'), 'c1', signal);
    expect(answer).toMatchObject({ user: 'alice', groups: ['admins'] });
  });

  it('The chain adds system:authenticated to an OIDC user, once', async () => {
    const twice = knows({ t: subjectOf('a', 'oidc', 'system:authenticated') });
    const first = await chain().authenticate(bearer('o'), 'c1', signal);
    expect(first).toMatchObject({ user: 'oidc:bob', groups: ['devs', 'system:authenticated'] });
    const second = chain({ oidc: twice.authenticator });
    expect(await second.authenticate(bearer('t'), 'c1', signal)).toMatchObject({
      groups: ['system:authenticated'],
    });
  });

  it('The chain stops at a provider that does not answer', async () => {
    oidc.asked.length = 0;
    const answer = chain().authenticate(bearer('hub-down'), 'c1', signal);
    await expect(answer).rejects.toThrow(
      expect.objectContaining({
        code: 'unavailable',
        message: 'hub authentication failed: connection refused',
      }),
    );
    expect(oidc.asked).toEqual([]);
  });

  const none = { hub: undefined, oidc: undefined };
  it.each([
    ['token is not valid for managed cluster, hub cluster, or the configured OIDC issuer', {}],
    ['token is neither valid for managed cluster nor hub cluster', { oidc: undefined }],
    [
      'token is neither valid for managed cluster nor the configured OIDC issuer',
      { hub: undefined },
    ],
  ])('The refusal says: %s', async (text, options) => {
    for (const credentials of [
      bearer('unknown'),
      { headerNames: [], authorization: [] },
      { headerNames: [], authorization: ['Basic eDp5'] },
      { headerNames: [], authorization: ['Bearer h', 'Bearer m'] },
      { headerNames: [], authorization: ['Bearer '] },
      { headerNames: [], authorization: ['Bearer h h'] },
    ]) {
      await expect(authenticate(chain(options), credentials)).rejects.toThrow(
        expect.objectContaining({
          code: 'unauthenticated',
          message: `authentication failed: ${text}`,
        }),
      );
    }
  });

  it('Without providers the chain forwards everything unchecked, as upstream', async () => {
    const unchecked = { kind: 'forward', subject: undefined };
    managed.asked.length = 0;
    expect(await chain(none).authenticate(bearer('m'), 'c1', signal)).toEqual(unchecked);
    expect(managed.asked).toEqual([]);
  });

  it('A policy gets the subject of a forwarded request from the managed cluster', async () => {
    const known = chain({ ...none, identifiesForwarded: true });
    expect(await known.authenticate(bearer('m'), 'c1', signal)).toMatchObject({
      kind: 'forward',
      subject: { user: account },
    });
    const asked = chain({ identifiesForwarded: true });
    expect(await asked.authenticate(bearer('h', 'Impersonate-User'), 'c1', signal)).toEqual({
      kind: 'forward',
      subject: undefined,
    });
  });

  it.each([
    'Impersonate-User',
    'impersonate-user',
    'IMPERSONATE-GROUP',
    'Impersonate-Uid',
    'Impersonate-Extra-scopes',
    'impersonate-',
    'iMpErSoNaTe-x',
  ])('The chain forwards a request with the header %s unchanged', async (name) => {
    hub.asked.length = 0;
    const answer = await chain().authenticate(bearer('h', name), 'c1', signal);
    expect(answer).toEqual({ kind: 'forward', subject: undefined });
    expect(hub.asked).toEqual([]);
  });

  it.each(['Impersonate', 'X-Impersonate-User', 'Impersonate_User', 'İmpersonate-user'])(
    'The header %s is no impersonation',
    async (name) => {
      const answer = await chain().authenticate(bearer('person', name), 'c1', signal);
      expect(answer.kind).toBe('impersonate');
    },
  );

  it('A client certificate counts only where it is accepted, and only without a token', async () => {
    const withCertificates = chain({ acceptsCertificates: true });
    const shown = { headerNames: [], authorization: [], certificate };
    expect(await withCertificates.authenticate(shown, 'c1', signal)).toMatchObject({
      kind: 'impersonate',
      user: 'alice',
      groups: ['team-a', 'system:authenticated'],
      subject: { credential: { kind: 'certificate', serial: '1f', issuer: 'CN=people' } },
    });
    await expect(authenticate(chain(), shown)).rejects.toThrow('is not valid');
    const withBadToken = { ...bearer('unknown'), certificate };
    await expect(authenticate(withCertificates, withBadToken)).rejects.toThrow('is not valid');
  });

  it.each([
    ['no name', { commonNames: [] }],
    ['two names', { commonNames: ['alice', 'bob'] }],
    ['an empty name', { commonNames: [''] }],
    ['a reserved user', { commonNames: ['system:admin'] }],
    ['a reserved group', { organizations: ['system:masters'] }],
    ['a reserved group in capitals', { organizations: ['System:masters'] }],
    ['a line break', { organizations: ['a\r\nImpersonate-Group: system:masters'] }],
  ])('A client certificate with %s is refused', async (_, names) => {
    const shown = { headerNames: [], authorization: [], certificate: { ...certificate, ...names } };
    const answer = authenticate(chain({ acceptsCertificates: true }), shown);
    await expect(answer).rejects.toThrow(expect.objectContaining({ code: 'unauthenticated' }));
  });
});

describe('A TokenReview', () => {
  const user = { username: 'alice', groups: ['admins'], uid: '7' };

  function reviewer(
    answer: (token: string, cluster: string) => TokenReviewStatus | undefined,
    options: { source?: 'managed-token' | 'hub-token'; audiences?: string[] } = {},
  ) {
    const clock = new VirtualClock();
    const asked: string[] = [];
    const authenticator = new KubeTokenAuthenticator({
      source: 'managed-token',
      ...options,
      clock,
      now: () => 1_000_000,
      review: (cluster) => async (token) => {
        asked.push(`${cluster} ${token}`);
        return answer(token, cluster);
      },
    });
    const ask = (token: string, cluster = 'c1') =>
      authenticator.authenticate(token, cluster, signal);
    return { clock, asked, ask };
  }

  it('A TokenReview tells user, groups, uid and extra', async () => {
    const extra = { 'authentication.kubernetes.io/credential-id': ['JTI=abc'], odd: 'no list' };
    const { ask } = reviewer(() => ({ authenticated: true, user: { ...user, extra } }));
    expect(await ask('t')).toMatchObject({
      user: 'alice',
      groups: ['admins'],
      uid: '7',
      credential: { kind: 'token', id: 'abc' },
      source: 'managed-token',
    });
  });

  it.each([
    ['invalid bearer token'],
    ['Invalid Bearer Token'],
    ['[invalid bearer token, token lookup failed]'],
  ])('The error "%s" is a rejection, and the next provider is asked', async (error) => {
    expect(await reviewer(() => ({ error })).ask('t')).toBeUndefined();
  });

  it('Any other error of a TokenReview stops the chain and is not kept', async () => {
    let error = 'etcd is away';
    const { ask, asked } = reviewer(() => ({ error, authenticated: true, user }));
    await expect(ask('t')).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }));
    error = '';
    expect(await ask('t')).toMatchObject({ user: 'alice' });
    expect(asked).toHaveLength(2);
  });

  it.each([
    ['no status', undefined],
    ['authenticated false', { authenticated: false, user }],
    ['authenticated missing', { user }],
    ['authenticated as a text', { authenticated: 'true', user }],
  ])('A TokenReview with %s authenticates nobody', async (_, status) => {
    expect(await reviewer(() => status).ask('t')).toBeUndefined();
  });

  it.each([
    ['no user', {}],
    ['an empty name', { username: '' }],
    ['a name that is no text', { username: ['alice'] }],
    ['a header in the name', { username: 'a\r\nImpersonate-Group: system:masters' }],
    ['a header in a group', { username: 'a', groups: ['x\nImpersonate-User: root'] }],
    ['a million characters', { username: 'a'.repeat(1_000_000) }],
    ['too many groups', { username: 'a', groups: Array.from({ length: 1001 }, String) }],
  ])('A TokenReview that names %s authenticates nobody', async (_, named) => {
    const answer = reviewer(() => ({ authenticated: true, user: named })).ask('t');
    await expect(answer).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }));
  });

  it('The answer of one managed cluster is not used for another', async () => {
    const { ask, asked } = reviewer((_, cluster) => ({ authenticated: cluster === 'evil', user }));
    expect(await ask('t', 'evil')).toMatchObject({ user: 'alice' });
    expect(await ask('t', 'c1')).toBeUndefined();
    expect(asked).toEqual(['evil t', 'c1 t']);
  });

  it('The hub is asked once for all clusters', async () => {
    const { ask, asked } = reviewer(() => ({ authenticated: true, user }), { source: 'hub-token' });
    await ask('t', 'c1');
    await ask('t', 'c2');
    expect(asked).toHaveLength(1);
  });

  it('A token for another audience is refused, also by a server that ignores audiences', async () => {
    for (const audiences of [undefined, [], ['other'], 'gateway', ['gateway-2']]) {
      const status = { authenticated: true, user, audiences };
      const { ask } = reviewer(() => status, { audiences: ['gateway'] });
      expect(await ask('t')).toBeUndefined();
    }
    const good = { authenticated: true, user, audiences: ['x', 'gateway'] };
    expect(await reviewer(() => good, { audiences: ['gateway'] }).ask('t')).toBeDefined();
  });

  it('A good answer is kept for 10 s, a bad one for 3 s', async () => {
    const { ask, asked, clock } = reviewer((token) => ({ authenticated: token === 'good', user }));
    const askBoth = async () => [await ask('good'), await ask('bad')];
    await askBoth();
    await clock.advance(2_999);
    await askBoth();
    expect(asked).toHaveLength(2);
    await clock.advance(2);
    await askBoth();
    expect(asked).toHaveLength(3);
    await clock.advance(7_000);
    await askBoth();
    expect(asked).toHaveLength(5);
  });

  it('A good answer is not kept beyond the expiry of the token', async () => {
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const token = `${encode({})}.${encode({ exp: 1_002, jti: 'j' })}.x`;
    const { ask, asked, clock } = reviewer(() => ({ authenticated: true, user }));
    expect(await ask(token)).toMatchObject({ credential: { id: 'j' }, expiresAtMs: 1_002_000 });
    await clock.advance(2_000);
    await ask(token);
    expect(asked).toHaveLength(2);
  });

  it('An empty or an enormous token is refused without a question', async () => {
    const { ask, asked } = reviewer(() => ({ authenticated: true, user }));
    expect(await ask('')).toBeUndefined();
    expect(await ask('a'.repeat(16 * 1024 + 1))).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it('A cluster that never answers uses up its own reviews only', async () => {
    const clock = new VirtualClock();
    const authenticator = new KubeTokenAuthenticator({
      source: 'managed-token',
      clock,
      review: (cluster) => async (_, __, aborted) => {
        if (cluster === 'c1') return { authenticated: true, user };
        return await new Promise((___, reject) => {
          aborted.addEventListener('abort', () => reject(aborted.reason as Error));
        });
      },
    });
    const ask = async (token: string) => await authenticator.authenticate(token, 'hung', signal);
    const hung = Array.from({ length: 400 }, (_, number) =>
      ask(`t${number}`).catch((error: unknown) => error),
    );
    expect(await authenticator.authenticate('t', 'c1', signal)).toMatchObject({ user: 'alice' });
    // Beyond the limit, reviews fail at once.
    expect(await hung.at(-1)).toMatchObject({ code: 'unavailable' });
    for (let turn = 0; turn < 20; turn++) await clock.advance(10_000);
    const answers = await Promise.all(hung);
    expect(answers.every((answer) => answer instanceof AccessError)).toBe(true);
  });

  it('One client with many tokens uses up a part of the reviews of a cluster, and another client is served', async () => {
    const clock = new VirtualClock();
    const answers: (() => void)[] = [];
    const reviewed = new KubeTokenAuthenticator({
      source: 'managed-token',
      clock,
      digest: (text) => text,
      review: () => async () => {
        await new Promise<void>((resolve) => void answers.push(resolve));
        return { authenticated: true, user };
      },
    });
    const by = chain({ managed: reviewed });
    const flood = Array.from({ length: 1_000 }, async (_, number) => {
      const credentials = { ...bearer(`made-up-${number}`), address: '203.0.113.1' };
      return await authenticate(by, credentials).catch((error: unknown) => error);
    });
    expect(await flood.at(-1)).toMatchObject({ code: 'unavailable' });
    const honest = authenticate(by, { ...bearer('good'), address: '203.0.113.2' });
    // The reviews that wait before it are answered, sixteen at a time.
    for (let turn = 0; turn < 100; turn++) {
      for (const answer of answers.splice(0)) answer();
      await clock.advance(0);
    }
    expect(await honest).toMatchObject({ subject: { user: 'alice' } });
  });
});
