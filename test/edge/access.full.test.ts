import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import type { DialerToken } from '../../src/base/tokens/token-subject.ts';
import { EdgeBroker } from './edge-broker.ts';

const rule = (name: string, clusters: object) => ({
  ...{ name, clusters, subjects: { tokens: [name] } },
  allow: [{ sessions: true }],
});

describe('Rules for dialers of the Worker', () => {
  const labels: Record<string, object> = { 'prod-1': { env: 'prod' }, 'test-1': { env: 'test' } };
  const hub = createServer((request, response) => {
    const name = request.url!.split('/').at(-1)!;
    const isAllowed = request.headers.authorization === 'Bearer hub-access' && name !== 'broken';
    const known = labels[name];
    response.statusCode = isAllowed ? (known === undefined ? 404 : 200) : 500;
    const missing = { kind: 'Status', details: { name } };
    response.end(JSON.stringify(known === undefined ? missing : { metadata: { labels: known } }));
  });
  let broker: EdgeBroker;
  beforeAll(async () => {
    hub.listen(0, '127.0.0.1');
    await once(hub, 'listening');
    broker = await EdgeBroker.start({
      CULVERT_HUB_API_SERVER: `http://127.0.0.1:${(hub.address() as AddressInfo).port}`,
      CULVERT_HUB_API_TOKEN: 'hub-access',
      CULVERT_POLICY: JSON.stringify({
        rules: [
          rule('by-name', { names: ['prod-1'] }),
          rule('by-label', { selector: 'env=prod' }),
          rule('scoped', { names: ['*'] }),
        ],
      }),
    });
  }, 60_000);
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    hub.close();
  });

  it.each([
    ['by-name', 'prod-1', undefined],
    ['by-name', 'test-1', 403],
    ['by-label', 'prod-1', undefined],
    ['by-label', 'test-1', 403],
    ['by-label', 'unknown', 403],
    ['by-label', 'broken', 503],
    ['by-name', 'broken', 403],
    ['nobody', 'prod-1', 403],
  ] as const)(
    'A policy decides about the dialer %s in cluster %s',
    async (name, cluster, status) => {
      expect(await broker.refusalOf({ name }, cluster)).toBe(status);
    },
  );

  it('A token with a selector is for the clusters with these labels', async () => {
    const token: DialerToken = { name: 'scoped', selector: 'env=test' };
    expect(await broker.refusalOf(token, 'test-1')).toBe(undefined);
    expect(await broker.refusalOf(token, 'prod-1')).toBe(403);
  });

  it('An alias has the rules of its cluster', async () => {
    await broker.rawAgent('prod-1');
    const alias = await clusterAlias('prod-1');
    expect(await broker.refusalOf({ name: 'by-label' }, alias)).toBe(undefined);
    expect(await broker.refusalOf({ name: 'nobody' }, alias)).toBe(403);
  });
});

it('An open session ends after its token has expired, also if its object was asleep', async () => {
  await using broker = await EdgeBroker.start({ CULVERT_SILENCE_LIMIT: '10s' });
  const pings = { pingIntervalMs: 2_000 };
  await broker.rawAgent('c1', pings);
  const lasting = await broker.rawDialer('c1', { keepAlive: pings });
  const expiring = await broker.rawDialer('c1', { keepAlive: pings, ttlMs: 8_000 });
  await broker.worker.putToSleep('c1');
  await expiring.received.closed();
  expect(expiring.received.closes[0]).toMatchObject({ code: 'draining' });
  expect(lasting.received.closes).toEqual([]);
});
