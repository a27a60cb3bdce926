import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { Directory } from '../../../src/broker/directory.ts';
import { describeDirectory, describeSharedDirectory } from '../../contracts/directory.contract.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { ground } from '../../../testkit/ground/ground.ts';
import type { TestCertificates } from '../../../testkit/world/certificates.ts';
import { freePort } from '../../../testkit/processes/process.ts';
import { newPrefix, RedisServer, soon, startReplica, TlsRedis } from './redis-ground.ts';

const onFirst = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1:8080' };
const never = 1e9;

describeWith({ redis: await ground.debian('redis-server') }, 'Redis with TLS', ({ redis }) => {
  let certificates: TestCertificates;
  let server: RedisServer;
  let url: string;
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    ({ certificates, server, url } = stack.use(await TlsRedis.start(redis, 'optional')));
  });
  afterAll(() => stack.disposeAsync());

  const start = (keyPrefix: string, tls: object) =>
    startReplica({
      redis: url,
      tls,
      replica: 'r1',
      keyPrefix,
      heartbeatMs: never,
    });

  describeDirectory(
    'Redis with TLS',
    async () => (await start(newPrefix(), { caFile: certificates.server.ca })).directory,
  );

  it('Redis is not trusted under a CA that did not issue its certificate', async () => {
    const { directory } = await start(newPrefix(), { caFile: certificates.stranger.ca });
    expect(directory.degraded).toMatch(/certificate/);
  });

  it('Redis is trusted by its intermediate CA alone', async () => {
    const intermediate = await certificates.serverAuthority.createIntermediate('redis-ca');
    const { ca, cert, key } = await intermediate.issue({ name: 'redis', usage: 'server' });
    await server.call('CONFIG', 'SET', 'tls-cert-file', cert, 'tls-key-file', key);
    const { directory } = await start(newPrefix(), { caFile: ca });
    expect(directory.degraded).toBeUndefined();
    const { server: before } = certificates;
    await server.call('CONFIG', 'SET', 'tls-cert-file', before.cert, 'tls-key-file', before.key);
  });

  it.each(['', 'text'])(
    'The directory refuses a CA file without a certificate (%j)',
    async (nothing) => {
      const caFile = join(certificates.directory, 'nothing.crt');
      await writeFile(caFile, nothing);
      await expect(start(newPrefix(), { caFile })).rejects.toThrow(
        /--redis-ca=.*nothing\.crt cannot be used/,
      );
    },
  );

  it('Redis gets a client certificate when it asks for one', async () => {
    await server.call('CONFIG', 'SET', 'tls-auth-clients', 'yes');
    const { ca } = certificates.server;
    const { cert, key } = certificates.client;
    const refused = await start(newPrefix(), { caFile: ca });
    expect(refused.directory.degraded).toContain('does not answer');
    const tls = { caFile: ca, certFile: cert, keyFile: key };
    const { directory } = await start(newPrefix(), tls);
    expect(directory.degraded).toBeUndefined();
  });

  it('The directory fails to start without its TLS files', async () => {
    await expect(start(newPrefix(), { caFile: '/nowhere/ca.crt' })).rejects.toThrow(
      '/nowhere/ca.crt',
    );
  });
});

describeWith({ redis: await ground.debian('redis-server') }, 'Redis Cluster', ({ redis }) => {
  const nodes: RedisServer[] = [];

  beforeAll(async () => {
    const buses: number[] = [];
    const firstSlot = (node: number) => Math.floor((16_384 * node) / 3);
    for (let at = 0; at < 3; at++) {
      buses.push(await freePort());
      const node = await RedisServer.start(redis, {
        'cluster-enabled': 'yes',
        'cluster-port': buses[at]!,
        'cluster-node-timeout': 1000,
        'cluster-require-full-coverage': 'no',
      });
      nodes.push(node);
      await node.call('CLUSTER', 'ADDSLOTSRANGE', firstSlot(at), firstSlot(at + 1) - 1);
      await node.call('CLUSTER', 'SET-CONFIG-EPOCH', at + 1);
      if (at > 0) await node.call('CLUSTER', 'MEET', '127.0.0.1', nodes[0]!.port, buses[0]!);
    }
    for (const node of nodes) {
      await vi.waitFor(async () => {
        const info = String(await node.call('CLUSTER', 'INFO'));
        if (!/state:ok[^]*slots_ok:16384[^]*known_nodes:3/.test(info)) throw new Error(info);
      }, soon);
    }
  });
  afterAll(async () => {
    for (const node of nodes) await node[Symbol.asyncDispose]();
  });

  const url = () => `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`;
  const start = (keyPrefix: string, replica: string) =>
    startReplica({ redis: url(), replica, keyPrefix, heartbeatMs: never });

  describeDirectory('Redis Cluster', async () => (await start(newPrefix(), 'r1')).directory);
  describeSharedDirectory('Redis Cluster', async () => {
    const prefix = newPrefix();
    return [(await start(prefix, 'r1')).directory, (await start(prefix, 'r2')).directory];
  });

  it('Redis Cluster without one of its nodes delays only the clusters on that node', async () => {
    const live = (replica: string) =>
      startReplica({
        redis: url(),
        replica,
        clock: systemClock,
        heartbeatMs: 500,
        commandTimeoutMs: 500,
      });
    const first = await live('r1');
    const second = await live('r2');
    const clusters = Array.from({ length: 12 }, (_, n) => `n${n}`);
    const claimAll = () =>
      Promise.all(clusters.map((cluster) => first.directory.claim({ ...onFirst, cluster })));
    const locateAll = (directory: Directory) =>
      Promise.all(clusters.map((cluster) => directory.locate(cluster).catch(() => [])));
    const before = (await claimAll()).map((claim) => [claim]);
    await expect.poll(() => locateAll(second.directory), soon).toEqual(before);

    await nodes[1]!.kill();
    const claims = (await claimAll()).map((claim) => [claim]);
    expect(first.directory.degraded).toMatch(/Redis .+ wait for it: \d+/);
    // Those on the other nodes are told, those on this one are what they were; the replica is the same.
    const told = await locateAll(second.directory);
    for (const [at, [record]] of told.entries()) {
      expect([before[at]![0], claims[at]![0]]).toContainEqual(record);
    }
    const stored = () =>
      locateAll(second.directory).then(
        (all) => all.filter(([record], at) => record?.epoch === claims[at]![0]!.epoch).length,
      );
    await expect.poll(stored, soon).toBeGreaterThan(0);

    await nodes[1]!.startAgain();
    await expect.poll(() => locateAll(second.directory), soon).toEqual(claims);
    await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
  });
});

describeWith({ redis: await ground.debian('redis-server') }, 'Redis Sentinel', ({ redis }) => {
  it('Sentinel leads to the new master after a failover, with every claim', async () => {
    await using master = await RedisServer.start(redis, { 'repl-diskless-sync-delay': 0 });
    const replicaof = `127.0.0.1 ${master.port}`;
    await using replica = await RedisServer.start(redis, { replicaof });
    const infoOf = async (server: RedisServer) => String(await server.call('INFO', 'replication'));
    // A sentinel looks for replicas when it starts, and then only every ten seconds.
    await expect.poll(() => infoOf(replica), soon).toContain('master_link_status:up');
    await using sentinel = await RedisServer.startSentinel(redis, [
      `sentinel monitor main 127.0.0.1 ${master.port} 1`,
      'sentinel down-after-milliseconds main 300',
      'sentinel failover-timeout main 2000',
    ]);
    const state = async () => String(await sentinel.call('SENTINEL', 'MASTER', 'main'));
    await expect.poll(state, { timeout: 30_000 }).toContain('num-slaves,1');

    const live = (name: string) =>
      startReplica({
        redis: `redis+sentinel://127.0.0.1:${sentinel.port}/main`,
        replica: name,
        clock: systemClock,
        heartbeatMs: 500,
        commandTimeoutMs: 500,
      });
    const first = await live('r1');
    const second = await live('r2');
    const before = await first.directory.claim(onFirst);
    await expect.poll(() => second.directory.locate('c1'), soon).toEqual([before]);

    await master.kill();
    const claim = await first.directory.claim(onFirst);
    // A Sentinel that was kept from running for two seconds acts on nothing for the next thirty.
    const failedOver = { timeout: 60_000 };
    await expect.poll(() => infoOf(replica), failedOver).toContain('role:master');
    await expect.poll(() => second.directory.locate('c1'), failedOver).toEqual([claim]);
    await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
    const third = await live('r3');
    expect(await third.directory.locate('c1')).toEqual([claim]);
  }, 120_000);
});
