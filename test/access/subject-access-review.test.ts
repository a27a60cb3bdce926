import { describe, expect, it } from 'vitest';
import type { Action } from '../../src/access/action.ts';
import { allOf, allowAll, denied } from '../../src/access/authorizer.ts';
import { kubeRequestInfo } from '../../src/access/kube-request-info.ts';
import {
  AccessReviewAuthorizer,
  type AccessReviewSpec,
  type AccessReviewStatus,
} from '../../src/access/subject-access-review.ts';
import type { Subject } from '../../src/access/subject.ts';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const { signal } = new AbortController();

function world(
  answer: (spec: AccessReviewSpec) => AccessReviewStatus | undefined = () => ({ allowed: true }),
) {
  const clock = new VirtualClock(20);
  const asked: AccessReviewSpec[] = [];
  const authorizer = new AccessReviewAuthorizer({
    clock,
    clusters: { labelsOf: () => undefined, names: () => ['c1'] },
    review: async (spec) => {
      asked.push(spec);
      return answer(spec);
    },
  });
  const ask = (subject: Subject, action: Action = { kind: 'session' }, cluster = 'c1') =>
    authorizer.authorize(subject, cluster, action, signal);
  return { clock, asked, ask };
}

const alice: Subject = {
  user: 'alice',
  groups: ['dev', 'system:authenticated'],
  uid: '7',
  extra: { scopes: ['x'] },
  source: 'hub-token',
};

describe('A SubjectAccessReview of the hub cluster', () => {
  it.each<[Action, string, string]>([
    [kubeRequestInfo('GET', '/api/v1/namespaces/a/pods/p'), 'get', 'proxy'],
    [kubeRequestInfo('GET', '/api/v1/pods?watch=1'), 'watch', 'proxy'],
    [kubeRequestInfo('DELETE', '/api/v1/namespaces/a/pods'), 'deletecollection', 'proxy'],
    [kubeRequestInfo('POST', '/api/v1/namespaces/a/pods/p/exec'), 'create', 'proxy'],
    [kubeRequestInfo('HEAD', '/version'), 'get', 'proxy'],
    [{ kind: 'tcp', host: 'h', port: 1 }, 'connect', 'proxy'],
    [{ kind: 'session' }, 'connect', 'proxy'],
    [
      { kind: 'service', scheme: 'http', namespace: 'n', name: 's', port: '80' },
      'connect',
      'services',
    ],
  ])('The action %j is reviewed as %s on managedclusters/%s', async (action, verb, subresource) => {
    const { ask, asked } = world();
    expect(await ask(alice, action)).toEqual({ allowed: true });
    expect(asked).toEqual([
      {
        user: 'alice',
        groups: ['dev', 'system:authenticated'],
        uid: '7',
        extra: { scopes: ['x'] },
        resourceAttributes: {
          group: 'cluster.open-cluster-management.io',
          resource: 'managedclusters',
          subresource,
          name: 'c1',
          verb,
        },
      },
    ]);
  });

  it('A path of the kube-apiserver never changes the name or the group of the review', async () => {
    const { ask, asked } = world();
    for (const target of [
      '/apis/rbac.authorization.k8s.io/v1/clusterroles/c2',
      '/api/v1/namespaces/c2%2Fpods',
      '/apis/x/v1/managedclusters/c2/proxy',
    ]) {
      await ask(alice, kubeRequestInfo('GET', target));
    }
    expect(new Set(asked.map(({ resourceAttributes: { name } }) => name))).toEqual(new Set(['c1']));
  });

  it('A method without a verb is denied without a question', async () => {
    const { ask, asked } = world();
    expect(await ask(alice, kubeRequestInfo('get', '/api/v1/pods'))).toMatchObject({
      allowed: false,
    });
    expect(asked).toEqual([]);
  });

  it.each<[Subject, string, string[]]>([
    // A managed cluster can call its users as it likes, also like an administrator of the hub.
    [
      { user: 'kubernetes-admin', groups: ['system:masters'], source: 'managed-token' },
      'cluster:c1:kubernetes-admin',
      ['cluster:c1:system:masters'],
    ],
    [{ user: 'alice', groups: [], source: 'dialer-token' }, 'token:alice', []],
    [{ user: 'x', groups: [], source: 'none' }, 'system:anonymous', ['system:unauthenticated']],
    [{ user: 'o:a', groups: ['g'], source: 'oidc' }, 'o:a', ['g', 'system:authenticated']],
  ])('The subject %j is reviewed as %s', async (subject, user, groups) => {
    const { ask, asked } = world();
    await ask(subject);
    expect(asked).toMatchObject([{ user, groups }]);
  });

  it('A name of the hub in a credential of another issuer is denied', async () => {
    const { ask, asked } = world();
    for (const source of ['oidc', 'client-certificate'] as const) {
      for (const [user, ...groups] of [['system:admin'], ['a', 'system:masters']]) {
        expect(await ask({ user: user!, groups, source })).toMatchObject({ allowed: false });
      }
    }
    expect(asked).toEqual([]);
  });

  it('A cluster is reviewed by its name, also when it is addressed by its alias', async () => {
    const { ask, asked } = world();
    await ask(alice, { kind: 'session' }, await clusterAlias('c1'));
    expect(asked).toMatchObject([{ resourceAttributes: { name: 'c1' } }]);
  });

  it.each<[AccessReviewStatus | undefined]>([
    [undefined],
    [{}],
    [{ allowed: false, reason: 'no' }],
    [{ allowed: 'true' }],
    [{ allowed: true, denied: true }],
  ])('The answer %j is a denial that names the rule to add', async (status) => {
    const { ask } = world(() => status);
    expect(await ask(alice)).toEqual({
      allowed: false,
      reason:
        'the hub cluster does not allow user "alice" to connect managedclusters/proxy c1 in group cluster.open-cluster-management.io',
    });
  });

  it('An answer that could not be evaluated decides nothing and is not kept', async () => {
    let status: AccessReviewStatus = { allowed: false, evaluationError: 'webhook is away' };
    const { ask } = world(() => status);
    await expect(ask(alice)).rejects.toThrow(expect.objectContaining({ code: 'unavailable' }));
    status = { allowed: true };
    expect(await ask(alice)).toEqual({ allowed: true });
  });

  it('An answer is kept for 10 s, or 3 s for a denial, and only for the same question', async () => {
    const { ask, asked, clock } = world(({ user }) => ({ allowed: user === 'alice' }));
    const bob = { ...alice, user: 'bob' };
    await ask(alice);
    await ask(bob);
    await ask(alice);
    await ask(bob);
    expect(asked).toHaveLength(2);
    for (const other of [
      { ...alice, groups: ['dev'] },
      { ...alice, groups: ['dev,system:authenticated'] },
      { ...alice, uid: '8' },
      { ...alice, extra: {} },
    ]) {
      await ask(other);
    }
    await ask(alice, { kind: 'session' }, 'c2');
    await ask(alice, kubeRequestInfo('GET', '/api/v1/pods'));
    expect(asked).toHaveLength(8);
    await clock.advance(3_000);
    await ask(bob);
    await ask(alice);
    expect(asked).toHaveLength(9);
    await clock.advance(7_000);
    await ask(alice);
    expect(asked).toHaveLength(10);
  });

  it("One user's questions leave room for those of another user", async () => {
    const clock = new VirtualClock(20);
    let open = 0;
    let mostOpen = 0;
    const authorizer = new AccessReviewAuthorizer({
      clock,
      review: async ({ user }, aborted) => {
        if (user === 'bob') return { allowed: true };
        mostOpen = Math.max(mostOpen, ++open);
        return await new Promise((_, reject) => {
          aborted.addEventListener('abort', () => {
            open--;
            reject(aborted.reason as Error);
          });
        });
      },
    });
    const authorize = async (subject: Subject, cluster: string) =>
      await authorizer.authorize(subject, cluster, { kind: 'session' }, signal);
    const ask = (subject: Subject, cluster: string) =>
      authorize(subject, cluster).catch((error: unknown) => error);
    const flood = Array.from({ length: 500 }, (_, number) => ask(alice, `c${number}`));
    // Beyond its part, the user's questions fail at once, and the other user's question waits.
    expect(await flood.at(-1)).toMatchObject({ code: 'unavailable' });
    const bob = ask({ ...alice, user: 'bob' }, 'c1');
    for (let turn = 0; turn < 12; turn++) await clock.advance(10_000);
    expect(await bob).toEqual({ allowed: true });
    await Promise.all(flood);
    expect(mostOpen).toBe(16);
  });
});

describe('Several authorizers', () => {
  it('Only what all authorizers allow is allowed, and the first denial is the answer', async () => {
    const no = (reason: string) => ({ authorize: async () => denied(reason) });
    const ask = (...authorizers: Parameters<typeof allOf>[0]) =>
      allOf(authorizers).authorize(alice, 'c1', { kind: 'session' }, signal);
    expect(await ask()).toEqual({ allowed: true });
    expect(await ask(allowAll, allowAll)).toEqual({ allowed: true });
    expect(await ask(allowAll, no('a'), no('b'))).toEqual({ allowed: false, reason: 'a' });
  });
});
