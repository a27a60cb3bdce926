import { describe, expect, it, onTestFinished } from 'vitest';
import {
  type ClusterIssuer,
  type ClusterSettings,
  formatClusterSettings,
  parseClusterSettings,
} from '../../../src/access/cluster-settings.ts';
import { AuthenticationChain } from '../../../src/access/authentication-chain.ts';
import { ClusterAuthentication } from '../../../src/access/node/cluster-authentication.ts';
import type { Subject } from '../../../src/access/subject.ts';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { clusterAlias } from '../../../src/base/names/cluster-alias.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';
import { MemoryKubeApi } from '../../../testkit/kube/memory-kube-api.ts';

const namespace = 'hub';
const name = 'settings';
const { signal } = new AbortController();
const issuer = (issuerUrl: string, more: Partial<ClusterIssuer> = {}): ClusterIssuer => ({
  options: { issuerUrl, clientId: 'kubectl' },
  ...more,
});
const settingsMap = (clusters: Readonly<Record<string, ClusterSettings>>) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace, name },
  data: { 'settings.json': formatClusterSettings(new Map(Object.entries(clusters))) },
});

/** The settings in a hub in memory. Each issuer knows the token that is its URL. */
function follow(first?: ReturnType<typeof settingsMap>) {
  const clock = new VirtualClock(20);
  const api = new MemoryKubeApi({ kinds: [], namespaces: [namespace] });
  if (first !== undefined) api.put(first);
  const closed: string[] = [];
  const knows = (token: string) => ({
    authenticate: async (given: string): Promise<Subject | undefined> =>
      given === token ? { user: token, groups: [], source: 'oidc' } : undefined,
  });
  const settings = new ClusterAuthentication({
    ...{ api, clock, log: silentLogger, oidc: knows('fleet') },
    configMap: { namespace, name },
    openIssuer: ({ options: { issuerUrl } }) => ({
      ...knows(issuerUrl),
      [Symbol.dispose]: () => void closed.push(issuerUrl),
    }),
  });
  onTestFinished(() => settings[Symbol.asyncDispose]());
  const chain = new AuthenticationChain({
    managed: knows('managed'),
    hub: knows('hub'),
    providersOf: (cluster) => settings.providersOf(cluster),
  });
  const ask = async (token: string, cluster: string) => {
    const authorization = [`Bearer ${token}`];
    const answer = await chain.authenticate({ headerNames: [], authorization }, cluster, signal);
    return answer.kind;
  };
  /** Aliases are hashed outside the virtual time. */
  const until = async (holds: () => boolean) =>
    await expect.poll(async () => (await clock.advance(100), holds())).toBe(true);
  const known = () => {
    try {
      settings.providersOf('any');
      return true;
    } catch {
      return false;
    }
  };
  return { api, settings, ask, until, known, closed };
}

describe('The settings of clusters', () => {
  it('Clusters with the same settings share a group, whatever their order', () => {
    const same = { hubTokens: false };
    const text = formatClusterSettings(
      new Map<string, ClusterSettings>([
        ['b', same],
        ['plain', { hubTokens: true }],
        ['c', { hubTokens: true, oidc: 'off' }],
        ['a', same],
      ]),
    );
    expect(parseClusterSettings(text)).toEqual([
      { clusters: ['a', 'b'], hubTokens: false, oidc: undefined },
      { clusters: ['c'], hubTokens: true, oidc: 'off' },
    ]);
  });

  it('All options of an issuer are kept', () => {
    const own: ClusterIssuer = {
      options: {
        ...{ issuerUrl: 'https://i', clientId: 'c', usernameClaim: 'email', usernamePrefix: '-' },
        ...{ groupsClaim: 'g', groupsPrefix: 'p', reservedNamePrefixes: [] },
        ...{ signingAlgs: ['ES256'], requiredClaims: { hd: 'x' } },
      },
      ca: 'PEM',
      caProblem: 'none',
    };
    const text = formatClusterSettings(new Map([['a', { hubTokens: true, oidc: own }]]));
    expect(parseClusterSettings(text)[0]?.oidc).toEqual(own);
  });

  it.each([
    '',
    '[]',
    '{"groups":[{"clusters":["a"],"hubTokens":"no"}]}',
    '{"groups":[{"clusters":[1],"hubTokens":true}]}',
    '{"groups":[{"clusters":["a"],"hubTokens":true,"oidc":{"options":{"issuerUrl":"http://i","clientId":"c"}}}]}',
    '{"groups":[{"clusters":["a"],"hubTokens":true,"oidc":{"options":{"issuerUrl":"","clientId":""}}}]}',
  ])('The text %j is refused as a whole', (text) => {
    expect(() => parseClusterSettings(text)).toThrow(
      expect.objectContaining({ code: 'invalid_options' }),
    );
  });
});

describe('The authentication of a cluster', () => {
  it('The authentication of a cluster follows the settings without a restart', async () => {
    const { api, ask, until, known, settings, closed } = follow(
      settingsMap({ a: { hubTokens: false, oidc: issuer('https://one') } }),
    );
    await until(known);
    expect(await ask('https://one', 'a')).toBe('impersonate');
    await expect(ask('hub', 'a')).rejects.toThrow(
      'token is neither valid for managed cluster nor the configured OIDC issuer',
    );
    await expect(ask('fleet', 'a')).rejects.toThrow('neither');
    expect(await ask('hub', 'b')).toBe('impersonate');
    expect(await ask('fleet', 'b')).toBe('impersonate');
    const before = settings.providersOf('a');
    api.put(settingsMap({ a: { hubTokens: true, oidc: issuer('https://two') } }));
    await until(() => settings.providersOf('a') !== before);
    expect(closed).toEqual(['https://one']);
    expect(await ask('https://two', 'a')).toBe('impersonate');
    expect(await ask('hub', 'a')).toBe('impersonate');
    await expect(ask('https://one', 'a')).rejects.toThrow('token is not valid for');
  });

  it('A cluster without hub tokens and without an issuer forwards every token, as upstream', async () => {
    const { ask, until, known } = follow(settingsMap({ a: { hubTokens: false, oidc: 'off' } }));
    await until(known);
    expect(await ask('hub', 'a')).toBe('forward');
  });

  it('A cluster has the same settings under its alias', async () => {
    const { ask, until, known } = follow(settingsMap({ a: { hubTokens: false, oidc: 'off' } }));
    await until(known);
    expect(await ask('hub', await clusterAlias('a'))).toBe('forward');
  });

  it('An issuer stays open while the settings of another cluster change', async () => {
    const one = { hubTokens: true, oidc: issuer('https://one') };
    const { api, until, known, settings, closed } = follow(settingsMap({ a: one }));
    await until(known);
    const { oidc } = settings.providersOf('a');
    api.put(settingsMap({ a: one, b: { hubTokens: false } }));
    await until(() => !settings.providersOf('b').acceptsHubTokens);
    expect(settings.providersOf('a').oidc).toBe(oidc);
    expect(closed).toEqual([]);
  });

  it('Nobody is authenticated while the settings are missing or not usable', async () => {
    const { api, ask, until, known, closed } = follow();
    await expect(ask('hub', 'a')).rejects.toThrow('has not been read yet');
    await expect
      .poll(async () => {
        await until(() => true);
        return await ask('hub', 'a').catch(String);
      })
      .toContain('it does not exist');
    api.put(settingsMap({ a: { hubTokens: true, oidc: issuer('https://one') } }));
    await until(known);
    api.put({ ...settingsMap({}), data: { 'settings.json': '{' } });
    await until(() => !known());
    expect(closed).toEqual(['https://one']);
    await expect(ask('hub', 'a')).rejects.toThrow('the text is no JSON');
    api.put(settingsMap({}));
    await until(known);
    expect(await ask('hub', 'a')).toBe('impersonate');
    await api.delete({ apiVersion: 'v1', kind: 'ConfigMap', namespace, name }, { signal });
    await until(() => !known());
  });

  it('An issuer whose CA cannot be used accepts no token', async () => {
    const clock = new VirtualClock(20);
    const api = new MemoryKubeApi({ kinds: [], namespaces: [namespace] });
    const caProblem = 'ConfigMap hub/ca does not exist';
    api.put(
      settingsMap({
        a: { hubTokens: true, oidc: issuer('https://one', { caProblem }) },
        b: { hubTokens: true, oidc: issuer('https://one', { ca: 'no PEM' }) },
      }),
    );
    const parts = { api, clock, log: silentLogger, configMap: { namespace, name } };
    await using settings = new ClusterAuthentication(parts);
    const oidcOf = (cluster: string) => settings.providersOf(cluster).oidc;
    await expect
      .poll(async () => {
        await clock.advance(100);
        return oidcOf('a');
      })
      .toBeDefined();
    const token = `e30.${btoa(JSON.stringify({ iss: 'https://one' }))}.x`;
    await expect(oidcOf('a')!.authenticate(token, 'a', signal)).rejects.toThrow(caProblem);
    await expect(oidcOf('b')!.authenticate(token, 'b', signal)).rejects.toThrow('CA of the OIDC');
  });
});
