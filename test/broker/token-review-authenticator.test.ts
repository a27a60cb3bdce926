import { describe, expect, it } from 'vitest';
import { AuthenticationUnavailableError, refuseAll } from '../../src/broker/authenticator.ts';
import { KubeTokenReviewer } from '../../src/broker/node/kube-token-reviewer.ts';
import { TokenReviewAuthenticator } from '../../src/broker/token-review-authenticator.ts';
import type { KubeApi, NewKubeObject } from '../../src/kube/client/kube-api.ts';
import { KubeError } from '../../src/kube/client/kube-error.ts';
import { MemoryKubeApi } from '../../testkit/kube/memory-kube-api.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const tokenOf = (sub: string, salt = '') =>
  `${encode({ alg: 'RS256' })}.${encode({ sub, salt })}.sig`;
const userOf = (cluster: string) => `system:serviceaccount:${cluster}:cluster-proxy-agent`;
const noTls = { certificates: [] };
const shown = (token: string) => new Headers({ 'Culvert-Authorization': `Bearer ${token}` });

function world(answer: (token: string) => Promise<string | undefined>) {
  const clock = new VirtualClock();
  const asked: string[] = [];
  const reviewer = {
    userOf(token: string) {
      asked.push(token);
      return answer(token);
    },
  };
  const next = refuseAll('for the next');
  const authenticator = new TokenReviewAuthenticator(reviewer, next, clock);
  const ask = (token: string, address?: string) =>
    authenticator.authenticate(shown(token), { ...noTls, address });
  return { clock, asked, ask };
}

describe('An agent with a ServiceAccount token of the hub cluster', () => {
  const token = tokenOf(userOf('c1'));

  it("An agent is authenticated by the API server's answer, not by the token's claims", async () => {
    const { ask } = world(async () => userOf('c1'));
    expect(await ask(token)).toEqual({ kind: 'agent', cluster: 'c1', registered: true });
    const lying = world(async () => userOf('c1'));
    expect(await lying.ask(tokenOf(userOf('c2')))).toMatchObject({ cluster: 'c1' });
  });

  it("An agent's token is reviewed once a minute, and once for concurrent requests", async () => {
    const { ask, asked, clock } = world(async () => userOf('c1'));
    await Promise.all([ask(token), ask(token), ask(token)]);
    await clock.advance(59_000);
    await ask(token);
    expect(asked).toHaveLength(1);
    await ask(tokenOf(userOf('c1'), 'another'));
    expect(asked).toHaveLength(2);
    await clock.advance(2_000);
    await ask(token);
    expect(asked).toHaveLength(3);
  });

  it("An agent's token that was refused is reviewed again sooner", async () => {
    const { ask, asked, clock } = world(async () => undefined);
    await expect(ask(token)).rejects.toThrow(
      'the API server of the hub does not know the token of c1',
    );
    await expect(ask(token)).rejects.toThrow('does not know');
    expect(asked).toHaveLength(1);
    await clock.advance(11_000);
    await expect(ask(token)).rejects.toThrow('does not know');
    expect(asked).toHaveLength(2);
  });

  it("An agent's token is reviewed again at once when the API server did not answer", async () => {
    let away = true;
    const { ask } = world(async () => {
      if (away) throw new AuthenticationUnavailableError('away');
      return userOf('c1');
    });
    await expect(ask(token)).rejects.toThrow(AuthenticationUnavailableError);
    away = false;
    expect(await ask(token)).toMatchObject({ cluster: 'c1' });
  });

  it.each([
    ['another ServiceAccount', 'system:serviceaccount:c1:default'],
    ['a person', 'kubernetes-admin'],
    ['a namespace that is no cluster', 'system:serviceaccount:A:cluster-proxy-agent'],
  ])('of %s is refused without a question', async (_, sub) => {
    const { ask, asked } = world(async () => userOf('c1'));
    await expect(ask(tokenOf(sub))).rejects.toThrow('neither made with');
    await expect(ask('garbage')).rejects.toThrow('neither made with');
    expect(asked).toEqual([]);
  });

  it('whose real user is another is refused', async () => {
    const { ask } = world(async () => 'system:serviceaccount:c1:default');
    await expect(ask(token)).rejects.toThrow('does not know');
  });

  it('is for the next authenticator without one', async () => {
    const authenticator = new TokenReviewAuthenticator(
      { userOf: () => Promise.reject(new Error('asked')) },
      refuseAll('for the next'),
      new VirtualClock(),
    );
    await expect(authenticator.authenticate(new Headers(), noTls)).rejects.toThrow('for the next');
  });
});

describe('a stranger with many tokens', () => {
  const stranger = '192.0.2.1';
  const good = tokenOf(userOf('c1'), 'good');
  const bad = (at: number) => tokenOf(userOf('c1'), `bad ${at}`);

  /** An API server that answers when it is told to, and how many questions it has at a time. */
  function slowServer() {
    const open: (() => void)[] = [];
    const counts = { most: 0, refused: 0 };
    const { ask, asked } = world(async (token) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      open.push(resolve);
      counts.most = Math.max(counts.most, open.length);
      await promise;
      return token === good ? userOf('c1') : undefined;
    });
    const flood = Array.from({ length: 1500 }, async (_, at) => {
      await ask(bad(at), stranger).catch((error: unknown) => {
        if (error instanceof AuthenticationUnavailableError) counts.refused++;
      });
    });
    /** Answers every question until `done` has settled. */
    const answerUntil = async (done: Promise<unknown>): Promise<void> => {
      const state = { settled: false };
      const settle = () => (state.settled = true);
      done.then(settle, settle);
      while (!state.settled) {
        for (const resolve of open.splice(0)) resolve();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    return { ask, asked, counts, flood: Promise.all(flood), answerUntil };
  }

  it('has few questions asked at a time, and no more than a number of them', async () => {
    const { asked, counts, flood, answerUntil } = slowServer();
    await expect.poll(() => counts.refused).toBe(1364);
    await answerUntil(flood);
    expect(counts).toEqual({ most: 16, refused: 1364 });
    expect(asked).toHaveLength(136);
  });

  it('does not keep out an agent at another address', async () => {
    const { ask, counts, flood, answerUntil } = slowServer();
    await expect.poll(() => counts.refused).toBe(1364);
    const asking = ask(good, '192.0.2.2');
    await answerUntil(asking);
    expect(await asking).toMatchObject({ cluster: 'c1' });
    await answerUntil(flood);
  });

  it('does not make the broker forget a good token', async () => {
    const { ask, asked } = world(async (token) => (token === good ? userOf('c1') : undefined));
    await ask(good);
    for (let at = 0; at < 12_000; at++) await ask(bad(at)).catch(() => {});
    const before = asked.length;
    await ask(good);
    expect(asked).toHaveLength(before);
  });
});

describe('the API server', () => {
  interface Asked {
    readonly spec: { readonly token: string; readonly audiences?: readonly string[] };
  }
  /** An API server that knows a token for these audiences (undefined: its own). */
  function serverWith(
    knows: readonly (string | undefined)[],
    says?: object,
  ): KubeApi & { asked: Asked[] } {
    const asked: Asked[] = [];
    const create = async (review: NewKubeObject) => {
      const { spec } = review as unknown as Asked;
      asked.push({ spec });
      const audience = spec.audiences?.[0];
      const status = knows.includes(audience)
        ? {
            authenticated: true,
            user: { username: userOf('c1') },
            ...(audience === undefined ? {} : { audiences: [audience] }),
            ...says,
          }
        : { authenticated: false, error: 'invalid bearer token' };
      return { ...review, metadata: { name: '' }, status };
    };
    return Object.assign(new MemoryKubeApi(), { create: create as KubeApi['create'], asked });
  }

  const tokenFor = (aud?: unknown) => `${encode({ alg: 'RS256' })}.${encode({ aud })}.sig`;

  it.each([['culvert-broker'], [['other', 'culvert-broker']]])(
    'is asked once about a token with the audience %s, as one for the broker',
    async (aud) => {
      const server = serverWith(['culvert-broker', undefined]);
      const token = tokenFor(aud);
      expect(await new KubeTokenReviewer(server).userOf(token)).toBe(userOf('c1'));
      expect(server.asked).toEqual([{ spec: { token, audiences: ['culvert-broker'] } }]);
    },
  );

  it.each([[undefined], ['https://kubernetes.default.svc'], [['other']], [7]])(
    'is asked once about a token with the audience %s, as one for itself',
    async (aud) => {
      const server = serverWith([undefined]);
      const token = tokenFor(aud);
      expect(await new KubeTokenReviewer(server).userOf(token)).toBe(userOf('c1'));
      expect(server.asked).toEqual([{ spec: { token } }]);
    },
  );

  it('that does not know the token says so, and is asked once', async () => {
    const server = serverWith(['other']);
    expect(await new KubeTokenReviewer(server).userOf('t')).toBeUndefined();
    expect(server.asked).toHaveLength(1);
  });

  it('that does not look at audiences is not believed about ours', async () => {
    const server = serverWith(['culvert-broker'], { audiences: [] });
    expect(await new KubeTokenReviewer(server).userOf(tokenFor('culvert-broker'))).toBeUndefined();
  });

  it.each([
    ['is away', 'unavailable', 'cannot be checked now'],
    ['forbids it', 'forbidden', 'grant the broker'],
  ] as const)('that %s makes it undecided', async (_, code, why) => {
    const api = new MemoryKubeApi({ intercept: () => new KubeError(code, 'no') });
    const asking = new KubeTokenReviewer(api).userOf('t');
    await expect(asking).rejects.toThrow(AuthenticationUnavailableError);
    await expect(asking).rejects.toThrow(why);
  });
});
