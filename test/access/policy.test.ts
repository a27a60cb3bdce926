import { describe, expect, it } from 'vitest';
import type { Action } from '../../src/access/action.ts';
import { kubeRequestInfo } from '../../src/access/kube-request-info.ts';
import { parseLabelSelector } from '../../src/access/label-selector.ts';
import { Policy } from '../../src/access/policy.ts';
import { anonymousSubject, type Subject } from '../../src/access/subject.ts';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';

const labels: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'prod-1': { env: 'prod', region: 'eu' },
  'test-1': { env: 'test' },
  c3: {},
};
const clusters = {
  labelsOf: (cluster: string) => (Object.hasOwn(labels, cluster) ? labels[cluster] : undefined),
  names: () => Object.keys(labels),
};
const nowMs = Date.UTC(2027, 0, 1);
const policyOf = (...rules: object[]) => withRevoked(rules, {});
const withRevoked = (rules: object[], more: object) =>
  Policy.parse({ rules, ...more }, { clusters, now: () => nowMs });

const user = (name: string, source: Subject['source'] = 'oidc', ...groups: string[]): Subject => ({
  user: name,
  groups,
  source,
});
const alice = user('alice');
const rule = (fields: object = {}) => ({
  name: 'r',
  subjects: { users: ['alice'] },
  clusters: { names: ['prod-1'] },
  allow: [{ all: true }],
  ...fields,
});
const session: Action = { kind: 'session' };
const isAllowed = async (
  policy: Policy,
  subject: Subject,
  cluster: string,
  action: Action = session,
) => (await policy.authorize(subject, cluster, action)).allowed;

describe('A policy', () => {
  it('A policy without rules denies everything, and says what it denies', async () => {
    const action = kubeRequestInfo('GET', '/api/v1/namespaces/shop/pods/web/log');
    expect(await policyOf().authorize(alice, 'prod-1', action)).toEqual({
      allowed: false,
      reason:
        'no rule of the policy allows user "alice" to get pods/log web in namespace shop in cluster prod-1',
    });
  });

  it.each<[object, Subject, boolean]>([
    [{ users: ['alice'] }, alice, true],
    [{ users: ['alice'] }, user('Alice'), false],
    [{ users: ['alice'] }, user('alice '), false],
    // A Cyrillic letter that looks the same, and another form of the same letter.
    [{ users: ['alice'] }, user('аlice'), false],
    [{ users: ['caf\u00e9'] }, user('cafe\u0301'), false],
    [{ users: ['oidc:*'] }, user('oidc:bob'), true],
    [{ users: ['oidc:*'] }, user('oidcbob'), false],
    [{ users: ['a*e'] }, alice, false],
    [{ users: ['a.ice'] }, alice, false],
    [{ users: ['*'] }, alice, true],
    [{ users: ['*'] }, anonymousSubject, false],
    [{ groups: ['dev'] }, user('x', 'hub-token', 'ops', 'dev'), true],
    [{ groups: ['dev'] }, user('dev'), false],
    // A credential of one kind is not taken for another with the same name.
    [{ users: ['alice'] }, user('alice', 'client-certificate'), false],
    [{ certificates: ['alice'] }, alice, false],
    [{ certificates: ['alice'] }, user('alice', 'client-certificate'), true],
    [{ organizations: ['dev'] }, user('x', 'client-certificate', 'dev'), true],
    [{ organizations: ['dev'] }, user('x', 'oidc', 'dev'), false],
    [{ groups: ['dev'] }, user('x', 'client-certificate', 'dev'), false],
    [{ tokens: ['alice'] }, user('alice', 'dialer-token'), true],
    [{ tokens: ['alice'] }, alice, false],
    [{ users: ['alice'] }, user('alice', 'dialer-token'), false],
    [{ anonymous: true }, anonymousSubject, true],
    [{ anonymous: true }, alice, false],
    [{ users: ['system:anonymous'] }, anonymousSubject, false],
    // A ServiceAccount of the hub is not the one of the same name in a managed cluster.
    [
      { users: ['system:serviceaccount:a:b'] },
      user('system:serviceaccount:a:b', 'hub-token'),
      false,
    ],
    [
      { users: ['cluster:hub:system:serviceaccount:a:b'] },
      user('system:serviceaccount:a:b', 'hub-token'),
      true,
    ],
    [
      { users: ['cluster:hub:system:serviceaccount:a:b'] },
      user('system:serviceaccount:a:b', 'managed-token'),
      false,
    ],
  ])('A rule for the subjects %j and the subject %j', async (subjects, subject, expected) => {
    expect(await isAllowed(policyOf(rule({ subjects })), subject, 'prod-1')).toBe(expected);
  });

  it.each<[object, string, boolean]>([
    [{ names: ['prod-1'] }, 'prod-1', true],
    [{ names: ['prod-1'] }, 'prod-12', false],
    [{ names: ['prod-*'] }, 'prod-12', true],
    [{ names: ['*'] }, 'anything', true],
    [{ selector: 'env=prod' }, 'prod-1', true],
    [{ selector: 'env=prod' }, 'test-1', false],
    [{ selector: 'env!=prod' }, 'c3', true],
    // A cluster that is not known has no labels, not even by negation.
    [{ selector: 'env!=prod' }, 'unknown', false],
    [{ selector: '!env' }, 'unknown', false],
    [{ selector: '!env' }, 'constructor', false],
    [{ names: ['c3'], selector: 'env=test' }, 'test-1', true],
    [{ names: ['c3'], selector: 'env=test' }, 'c3', true],
    [{ names: ['c3'], selector: 'env=test' }, 'prod-1', false],
  ])('A rule for the clusters %j and the cluster %s', async (of, cluster, expected) => {
    expect(await isAllowed(policyOf(rule({ clusters: of })), alice, cluster)).toBe(expected);
  });

  it('A rule for a cluster is valid for its alias, and for no other alias', async () => {
    const byName = policyOf(rule({ clusters: { names: ['prod-1'] } }));
    const byLabel = policyOf(rule({ clusters: { selector: 'env=prod' } }));
    const unknownName = policyOf(rule({ clusters: { names: ['not-on-hub'] } }));
    expect(await isAllowed(byName, alice, await clusterAlias('prod-1'))).toBe(true);
    expect(await isAllowed(byLabel, alice, await clusterAlias('prod-1'))).toBe(true);
    expect(await isAllowed(unknownName, alice, await clusterAlias('not-on-hub'))).toBe(true);
    expect(await isAllowed(byName, alice, await clusterAlias('test-1'))).toBe(false);
    expect(await isAllowed(byLabel, alice, `cluster-${'0'.repeat(48)}`)).toBe(false);
  });

  const kube = (method: string, target: string) => kubeRequestInfo(method, target);
  const readPods = { verbs: ['get', 'list'], resources: ['pods'], namespaces: ['shop'] };
  it.each<[object, Action, boolean]>([
    [{ kube: readPods }, kube('GET', '/api/v1/namespaces/shop/pods/x'), true],
    [{ kube: readPods }, kube('HEAD', '/api/v1/namespaces/shop/pods'), true],
    [{ kube: readPods }, kube('GET', '/api/v1/namespaces/shop/pods?watch=1'), false],
    [{ kube: readPods }, kube('DELETE', '/api/v1/namespaces/shop/pods/x'), false],
    [{ kube: readPods }, kube('GET', '/api/v1/namespaces/shop/secrets/x'), false],
    [{ kube: readPods }, kube('GET', '/api/v1/namespaces/shop/secrets%2fx'), false],
    [{ kube: readPods }, kube('GET', '/api/v1/namespaces/shop%2fsecrets/pods'), false],
    [{ kube: readPods }, kube('GET', '/api/v1/namespaces/shop/pods/x/log'), false],
    [{ kube: readPods }, kube('GET', '/api/v1/namespaces/shop/pods/x/exec'), false],
    [{ kube: readPods }, kube('GET', '/api/v1/namespaces/other/pods/x'), false],
    // A list over all namespaces is not a list of one.
    [{ kube: readPods }, kube('GET', '/api/v1/pods'), false],
    [
      { kube: readPods },
      kube('GET', '/api/v1/pods?fieldSelector=metadata.namespace%3Dshop'),
      false,
    ],
    // The old verbs of paths.
    [{ kube: readPods }, kube('GET', '/api/v1/watch/namespaces/shop/pods/x'), false],
    [{ kube: readPods }, kube('GET', '/api/v1/proxy/namespaces/shop/pods/x'), false],
    [{ kube: readPods }, kube('GET', '/apis/evil/v1/namespaces/shop/pods/x'), true],
    [
      { kube: { ...readPods, apiGroups: [''] } },
      kube('GET', '/apis/evil/v1/namespaces/shop/pods/x'),
      false,
    ],
    [
      { kube: { ...readPods, apiGroups: [''] } },
      kube('GET', '/api/v1/namespaces/shop/pods/x'),
      true,
    ],
    [{ kube: { ...readPods, names: ['x'] } }, kube('GET', '/api/v1/namespaces/shop/pods/x'), true],
    [{ kube: { ...readPods, names: ['x'] } }, kube('GET', '/api/v1/namespaces/shop/pods'), false],
    [
      { kube: { ...readPods, names: ['x'] } },
      kube('GET', '/api/v1/namespaces/shop/pods?fieldSelector=metadata.name=x'),
      true,
    ],
    [
      { kube: { ...readPods, names: ['x'] } },
      kube('GET', '/api/v1/namespaces/shop/pods?fieldSelector=metadata.name=x,metadata.name=y'),
      false,
    ],
    [
      { kube: { verbs: ['create'], resources: ['pods/exec'] } },
      kube('POST', '/api/v1/namespaces/a/pods/p/exec'),
      true,
    ],
    [
      { kube: { verbs: ['create'], resources: ['pods/exec'] } },
      kube('POST', '/api/v1/namespaces/a/pods'),
      false,
    ],
    [
      { kube: { verbs: ['*'], resources: ['*/scale'] } },
      kube('PUT', '/apis/apps/v1/namespaces/a/deployments/d/scale'),
      true,
    ],
    [
      { kube: { verbs: ['*'], resources: ['*/scale'] } },
      kube('PUT', '/apis/apps/v1/namespaces/a/deployments/d'),
      false,
    ],
    [{ kube: { verbs: ['get'], resources: ['*'] } }, kube('PROPFIND', '/api/v1/pods'), false],
    [{ kube: { verbs: ['*'], resources: ['*'] } }, kube('GET', '/version'), false],
    [
      { paths: { verbs: ['get'], paths: ['/version', '/openapi/*'] } },
      kube('GET', '/version'),
      true,
    ],
    [{ paths: { verbs: ['get'], paths: ['/openapi/*'] } }, kube('GET', '/openapi/v3/x'), true],
    [{ paths: { verbs: ['get'], paths: ['/openapi/*'] } }, kube('GET', '/openapi'), false],
    [{ paths: { verbs: ['get'], paths: ['/*'] } }, kube('GET', '/api/v1/secrets'), false],
    [{ paths: { verbs: ['get'], paths: ['/version'] } }, kube('GET', '/%76ersion'), true],
    [{ paths: { verbs: ['get'], paths: ['/version'] } }, kube('POST', '/version'), false],
  ])('A rule that allows %j and the action %j', async (allow, action, expected) => {
    expect(await isAllowed(policyOf(rule({ allow: [allow] })), alice, 'prod-1', action)).toBe(
      expected,
    );
  });

  const service: Action = {
    kind: 'service',
    scheme: 'http',
    namespace: 'shop',
    name: 'db',
    port: '80',
  };
  const tcp: Action = { kind: 'tcp', host: 'db.shop.svc', port: 5432 };
  it.each<[object, Action, boolean]>([
    [{ services: { namespaces: ['shop'], names: ['db'] } }, service, true],
    [{ services: { namespaces: ['shop'], names: ['db'], ports: [80] } }, service, true],
    [{ services: { namespaces: ['shop'], names: ['db'], ports: ['http'] } }, service, false],
    [{ services: { namespaces: ['shop'], names: ['db'], schemes: ['https'] } }, service, false],
    [{ services: { namespaces: ['other'], names: ['db'] } }, service, false],
    // Rights on the kube-apiserver are no rights on Services.
    [{ kube: { verbs: ['*'], resources: ['*'] } }, service, false],
    [{ tcp: { hosts: ['db.shop.svc'] } }, tcp, true],
    [{ tcp: { hosts: ['*'], ports: [5432] } }, tcp, true],
    [{ tcp: { hosts: ['db.shop.svc'], ports: ['443'] } }, tcp, false],
    [{ tcp: { hosts: ['db.shop.svc'] } }, { ...tcp, host: 'DB.shop.svc.' }, true],
    [{ tcp: { hosts: ['db.shop.*'] } }, { ...tcp, host: 'db.shopx.svc' }, false],
    [{ tcp: { hosts: ['*'] } }, session, false],
    [{ sessions: true }, session, true],
    [{ sessions: true }, tcp, false],
  ])('A rule that allows %j and the target %j', async (allow, action, expected) => {
    expect(await isAllowed(policyOf(rule({ allow: [allow] })), alice, 'prod-1', action)).toBe(
      expected,
    );
  });

  it('A rule ends at its time', async () => {
    const until = (time: string) => policyOf(rule({ until: time }));
    expect(await isAllowed(until('2027-01-01T00:00:01Z'), alice, 'prod-1')).toBe(true);
    expect(await isAllowed(until('2027-01-01T00:00:00Z'), alice, 'prod-1')).toBe(false);
    expect(() => until('tomorrow')).toThrow('until is no time');
    expect(() => until('2027-13-01T00:00:00Z')).toThrow('until is no time');
  });

  it('A revoked or expired credential is denied whatever the rules say', async () => {
    const everything = rule({ subjects: { users: ['*'], certificates: ['*'], tokens: ['*'] } });
    const policy = withRevoked([everything], {
      revoked: { tokens: ['jti-1'], certificates: [{ serial: '00:1F', issuer: 'CN=ca' }] },
    });
    const token = (id: string): Subject => ({ ...alice, credential: { kind: 'token', id } });
    const certificate = (serial: string, issuer: string): Subject => ({
      ...user('x', 'client-certificate'),
      credential: { kind: 'certificate', serial, issuer },
    });
    expect(await policy.authorize(token('jti-1'), 'prod-1', session)).toEqual({
      allowed: false,
      reason: 'the token is revoked',
    });
    expect(await isAllowed(policy, token('jti-2'), 'prod-1')).toBe(true);
    expect(await isAllowed(policy, certificate('1f', 'CN=ca'), 'prod-1')).toBe(false);
    expect(await isAllowed(policy, certificate('1f', 'CN=other'), 'prod-1')).toBe(true);
    expect(await isAllowed(policy, certificate('1f0', 'CN=ca'), 'prod-1')).toBe(true);
    const expiring = { ...alice, expiresAtMs: nowMs };
    expect(await isAllowed(policy, expiring, 'prod-1')).toBe(false);
    expect(await isAllowed(policy, { ...alice, expiresAtMs: nowMs + 1 }, 'prod-1')).toBe(true);
  });

  it.each<[unknown, string]>([
    [null, 'policy must be a map'],
    [[], 'policy must be a map'],
    [{}, 'policy needs rules'],
    [{ rules: {} }, 'policy.rules must be a list'],
    [{ rules: [], extra: 1 }, 'policy.extra is not known'],
    [{ rules: [rule({ name: '' })] }, 'policy.rules[0].name must be a text'],
    [{ rules: [{ ...rule(), subjects: undefined }] }, 'policy.rules[0].subjects must be a map'],
    [{ rules: [rule({ subjects: {} })] }, 'policy.rules[0].subjects needs one of users'],
    [{ rules: [rule({ subjects: { user: ['a'] } })] }, 'subjects.user is not known'],
    [{ rules: [rule({ subjects: { users: 'alice' } })] }, 'users must be a list'],
    [{ rules: [rule({ subjects: { users: [] } })] }, 'users must be a list with entries'],
    [{ rules: [rule({ subjects: { users: [1] } })] }, 'users[0] must be a text'],
    [{ rules: [rule({ subjects: { anonymous: false } })] }, 'anonymous must be true'],
    [{ rules: [rule({ clusters: {} })] }, 'clusters needs one of names, selector'],
    [{ rules: [rule({ clusters: { selector: 'env in' } })] }, 'is no label selector'],
    [{ rules: [rule({ allow: [] })] }, 'allow must be a list with entries'],
    [{ rules: [rule({ allow: [{}] })] }, 'allow[0] needs one of all'],
    [{ rules: [rule({ allow: [{ all: 'yes' }] })] }, 'all must be true'],
    [{ rules: [rule({ allow: [{ kube: { verbs: ['get'] } }] })] }, 'kube needs resources'],
    [{ rules: [rule({ allow: [{ tcp: { hosts: ['a'], ports: [1.5] } }] })] }, 'must be a port'],
    [{ rules: [], revoked: { certificates: [{ serial: '1' }] } }, 'needs issuer'],
    [JSON.parse('{"rules":[],"__proto__":{}}'), 'policy.__proto__ is not known'],
    [JSON.parse('{"rules":[],"constructor":{}}'), 'policy.constructor is not known'],
  ])('The contents %j are refused', (document, problem) => {
    expect(() => Policy.parse(document)).toThrow(problem);
  });

  it('A policy decides quickly about ten thousand groups', async () => {
    const groups = Array.from({ length: 10_000 }, (_, number) => `g${number}`);
    const policy = policyOf(rule({ subjects: { groups: ['g9999'] } }));
    expect(await isAllowed(policy, user('x', 'oidc', ...groups), 'prod-1')).toBe(true);
  });
});

describe('A label selector', () => {
  const of = { env: 'prod', empty: '', 'a.b/c-d': 'x' };
  it.each([
    ['env=prod', true],
    ['env==prod', true],
    ['env = prod', true],
    ['env!=prod', false],
    ['env=test', false],
    ['missing!=x', true],
    ['missing=', false],
    ['empty=', true],
    ['a.b/c-d=x', true],
    ['env in (test, prod)', true],
    ['env in (test)', false],
    ['env notin (test)', true],
    ['missing in (x)', false],
    ['missing notin (x)', true],
    ['env', true],
    ['!env', false],
    ['!missing', true],
    ['env in (prod,test),!missing', true],
    ['env=prod,missing', false],
    ['toString', false],
  ])('%s fits or not', (selector, expected) => {
    expect(parseLabelSelector(selector)(of)).toBe(expected);
  });

  it.each(['', ' ', ',', 'env=prod,', 'a b', '=x', 'env=a b', 'env in', 'env in prod', '!!env'])(
    '"%s" is refused',
    (selector) => {
      expect(() => parseLabelSelector(selector)).toThrow('is no label selector');
    },
  );
});
