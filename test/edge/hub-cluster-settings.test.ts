import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ClusterIssuer,
  type ClusterSettings,
  formatClusterSettings,
} from '../../src/access/cluster-settings.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { EdgeProviders } from '../../src/gateway/edge/edge-providers.ts';
import { HubClusterSettings } from '../../src/gateway/edge/hub-cluster-settings.ts';
import { openHubServer } from '../../src/gateway/edge/hub-server.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const configMap = { namespace: 'hub', name: 'settings' };
const without: ClusterSettings = { hubTokens: false, oidc: 'off' };
const dataOf = (clusters: Readonly<Record<string, ClusterSettings>>) => ({
  'settings.json': formatClusterSettings(new Map(Object.entries(clusters))),
});

/** The settings of `c1` on a hub that answers with `world.data`, or not at all. */
function follow(first?: Readonly<Record<string, string>>) {
  const clock = new VirtualClock();
  const world = { data: first, isAway: false, reads: 0 };
  const settings = new HubClusterSettings({
    ...{ configMap, cluster: 'c1', clock, log: silentLogger },
    async readConfigMap() {
      world.reads++;
      if (world.isAway) throw new Error('the hub is away');
      return world.data;
    },
  });
  return Object.assign(world, { clock, settings });
}

describe('The settings of a cluster on the edge', () => {
  it('Settings are read once for 30 s, also by requests at the same time', async () => {
    const world = follow(dataOf({ c1: without, c2: { hubTokens: false } }));
    const { settings, clock } = world;
    const both = await Promise.all([settings.current(), settings.current()]);
    expect(both).toMatchObject([without, without]);
    world.data = dataOf({ c2: without });
    await clock.advance(29_999);
    expect(await settings.current()).toMatchObject(without);
    expect(world.reads).toBe(1);
    await clock.advance(1);
    expect(await settings.current()).toBeUndefined();
    expect(world.reads).toBe(2);
  });

  it('A hub that does not answer is given up after 10 s, and no timer remains after an answer', async () => {
    const clock = new VirtualClock();
    const settings = new HubClusterSettings({
      ...{ configMap, cluster: 'c1', clock, log: silentLogger },
      readConfigMap: (_name, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        }),
    });
    const ending = settings.current().catch(String);
    await clock.advance(10_000);
    expect(await ending).toContain('cannot be read: there is no answer in time');
    // A timer would keep the Durable Object awake.
    expect(clock.pendingTimers).toBe(0);
    const world = follow(dataOf({}));
    await world.settings.current();
    expect(world.clock.pendingTimers).toBe(0);
  });

  it.each<[string, Readonly<Record<string, string>> | undefined, string]>([
    ['missing', undefined, 'cannot be used: it does not exist'],
    ['without their key', { other: '{}' }, 'cannot be used: it has no key settings.json'],
    ['not valid', { 'settings.json': '{' }, 'cannot be used: the text is no JSON'],
  ])('Nobody is authenticated while settings are %s', async (_, data, message) => {
    const world = follow(data);
    const problem = { code: 'unavailable', message: expect.stringContaining(message) as string };
    await expect(world.settings.current()).rejects.toMatchObject(problem);
    world.data = dataOf({ c1: without });
    await world.clock.advance(4_999);
    await expect(world.settings.current()).rejects.toMatchObject(problem);
    expect(world.reads).toBe(1);
    await world.clock.advance(1);
    expect(await world.settings.current()).toMatchObject(without);
    world.data = data;
    await world.clock.advance(30_000);
    await expect(world.settings.current()).rejects.toMatchObject(problem);
  });

  it('The last known settings are valid while the hub does not answer', async () => {
    const world = follow(dataOf({ c1: without }));
    world.isAway = true;
    await expect(world.settings.current()).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('cannot be read: the hub is away') as string,
    });
    world.isAway = false;
    await world.clock.advance(5_000);
    await world.settings.current();
    world.isAway = true;
    await world.clock.advance(30_000);
    expect(await world.settings.current()).toMatchObject(without);
    world.isAway = false;
    world.data = dataOf({});
    await world.clock.advance(5_000);
    expect(await world.settings.current()).toBeUndefined();
    expect(world.reads).toBe(4);
  });
});

describe('The providers of a cluster on the edge', () => {
  const parts = { oidc: undefined, clock: new VirtualClock(), log: silentLogger };
  const issuer = (issuerUrl: string, more: Partial<ClusterIssuer> = {}): ClusterSettings => ({
    hubTokens: true,
    oidc: { options: { issuerUrl, clientId: 'kubectl' }, ...more },
  });
  const tokenOf = (iss: string) => `e30.${btoa(JSON.stringify({ iss }))}.x`;

  it('An issuer keeps its keys while its settings do not change', () => {
    const providers = new EdgeProviders(parts);
    const { oidc } = providers.of(issuer('https://one'));
    expect(providers.of(issuer('https://one')).oidc).toBe(oidc);
    expect(providers.of(issuer('https://two')).oidc).not.toBe(oidc);
    expect(providers.of(without)).toEqual({ acceptsHubTokens: false, oidc: undefined });
    expect(providers.of(undefined)).toEqual({ acceptsHubTokens: true, oidc: undefined });
  });

  it('An issuer with a CA of its own accepts no token', async () => {
    const { oidc } = new EdgeProviders(parts).of(issuer('https://one', { ca: 'PEM' }));
    const { signal } = new AbortController();
    await expect(oidc!.authenticate(tokenOf('https://one'), 'c1', signal)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('public CAs only') as string,
    });
    expect(await oidc!.authenticate(tokenOf('https://two'), 'c1', signal)).toBeUndefined();
  });
});

describe('A ConfigMap of the hub', () => {
  const answers: Readonly<Record<string, readonly [number, string]>> = {
    settings: [200, JSON.stringify({ data: { key: '"'.repeat(1024 ** 2) } })],
    empty: [200, '{}'],
    missing: [404, JSON.stringify({ kind: 'Status', details: { name: 'missing' } })],
    large: [200, JSON.stringify({ data: { key: 'x'.repeat(4 * 1024 ** 2) } })],
    forbidden: [403, '{}'],
  };
  let hub: Server;
  const seen: string[] = [];
  beforeAll(async () => {
    hub = createServer((request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization}`);
      const [status, text] = answers[request.url!.split('/').at(-1)!] ?? [
        404,
        '404 page not found',
      ];
      response.writeHead(status).end(text);
    }).listen(0, '127.0.0.1');
    await once(hub, 'listening');
  });
  afterAll(() => {
    hub.close();
    hub.closeAllConnections();
  });

  const read = async (name: string) => {
    const { port } = hub.address() as AddressInfo;
    const { readConfigMap } = openHubServer({
      url: new URL(`http://127.0.0.1:${port}/`),
      token: 't',
    });
    return await readConfigMap({ namespace: 'hub', name }, new AbortController().signal);
  };

  it('A ConfigMap of 1 MiB is read, whatever its text', async () => {
    expect((await read('settings'))?.['key']).toHaveLength(1024 ** 2);
    expect(seen).toEqual(['GET /api/v1/namespaces/hub/configmaps/settings Bearer t']);
  });

  it('A ConfigMap without data and a missing one are told apart', async () => {
    expect(await read('empty')).toEqual({});
    expect(await read('missing')).toBeUndefined();
  });

  it.each([
    ['large', 'the answer to a ConfigMap is too long'],
    ['forbidden', 'answered 403 to a ConfigMap'],
    ['no-api-server', 'answered 404 to a ConfigMap'],
  ])('The answer "%s" is an error', async (name, message) => {
    await expect(read(name)).rejects.toThrow(message);
  });
});
