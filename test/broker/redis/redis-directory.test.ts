import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clusterAlias } from '../../../src/base/names/cluster-alias.ts';
import { aliasOf } from '../../../src/broker/redis/redis-entry.ts';
import { describeDirectory, describeSharedDirectory } from '../../contracts/directory.contract.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { ground } from '../../../testkit/ground/ground.ts';
import { clientOf, newPrefix, RedisServer, startReplica, told, soon } from './redis-ground.ts';

const onFirst = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1:8080' };
const onSecond = { ...onFirst, replica: 'r2', address: 'ws://r2:8080' };
const never = 1e9;

describeWith({ redis: await ground.debian('redis-server') }, 'on one Redis', ({ redis }) => {
  let server: RedisServer;
  beforeAll(async () => (server = await RedisServer.start(redis)));
  afterAll(async () => server?.[Symbol.asyncDispose]());

  const start = (keyPrefix: string, replica: string, heartbeatMs?: number) =>
    startReplica({
      redis: server.url,
      replica,
      keyPrefix,
      ...(heartbeatMs !== undefined && { heartbeatMs }),
    });

  describeDirectory('Redis', async () => (await start(newPrefix(), 'r1')).directory);
  describeSharedDirectory('Redis', async () => {
    const prefix = newPrefix();
    return [(await start(prefix, 'r1')).directory, (await start(prefix, 'r2')).directory];
  });

  it("The directory uses the cluster's alias in its keys", async () => {
    expect(aliasOf('c1')).toBe(await clusterAlias('c1'));
  });

  describe('A look-up in Redis', () => {
    /** How many commands of the directory Redis has seen. */
    async function countScripts(client: ReturnType<typeof clientOf>): Promise<number> {
      const stats = await client.info('commandstats');
      const calls = [...stats.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)];
      return calls.reduce((sum, [, count]) => sum + Number(count), 0);
    }

    it('A look-up answers from the cache by name or alias, and asks Redis again when the route is old', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const first = await start(prefix, 'r1', never);
      const second = await start(prefix, 'r2', never);
      const claim = await first.directory.claim(onFirst);
      await told(first, second);
      const alias = await clusterAlias('c1');
      await second.directory.locate('c1');
      await second.directory.locate(alias);
      const before = await countScripts(client);
      for (let times = 0; times < 100; times++) {
        expect(await second.directory.locate('c1')).toEqual([claim]);
        expect(await second.directory.locate(alias)).toEqual([claim]);
      }
      expect(await countScripts(client)).toBe(before);
      await second.clock.advance(10_001);
      expect(await second.directory.locate('c1')).toEqual([claim]);
      expect(await countScripts(client)).toBe(before + 1);
    });

    it('A look-up asks Redis once for concurrent callers', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const { directory } = await start(prefix, 'r1', never);
      const before = await countScripts(client);
      await Promise.all(Array.from({ length: 50 }, () => directory.locate('c1')));
      expect(await countScripts(client)).toBe(before + 1);
    });

    it('A look-up remembers for a second that there is no agent', async () => {
      const client = clientOf(server);
      const { directory, clock } = await start(newPrefix(), 'r1', never);
      await directory.locate('c1');
      const before = await countScripts(client);
      await clock.advance(1_000);
      await directory.locate('c1');
      expect(await countScripts(client)).toBe(before);
      await clock.advance(1);
      await directory.locate('c1');
      expect(await countScripts(client)).toBe(before + 1);
    });

    it('A look-up asks again after a route was invalidated, and drops a route that is gone', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const first = await start(prefix, 'r1', never);
      const second = await start(prefix, 'r2', never);
      const claim = await first.directory.claim(onFirst);
      await told(first, second);
      expect(await second.directory.locate('c1')).toEqual([claim]);
      // Without telling anybody.
      await client.hdel(`${prefix}{${aliasOf('c1')}}`, '0/a');
      expect(await second.directory.locate('c1')).toEqual([claim]);
      second.directory.invalidate(claim);
      expect(await second.directory.locate('c1')).toEqual([]);
    });

    it("A look-up ignores claims that were made under the replica's own name before it started", async () => {
      const prefix = newPrefix();
      const before = await start(prefix, 'r1', never);
      await before.directory.claim(onFirst);
      await before.directory.close();
      const after = await start(prefix, 'r1', never);
      expect(await after.directory.locate('c1')).toEqual([]);
    });
  });

  describe('A claim in Redis', () => {
    it('A claim expires three heartbeats after its last renewal and leaves nothing behind', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const first = await start(prefix, 'r1', 40);
      const second = await start(prefix, 'r2', never);
      await first.directory.claim(onFirst);
      const key = `${prefix}{${aliasOf('c1')}}`;
      expect(await client.hexists(key, '0/a')).toBe(1);
      await expect
        .poll(async () => {
          await second.clock.advance(1_001);
          second.directory.invalidate({ ...onFirst, epoch: 0 });
          return second.directory.locate('c1');
        }, soon)
        .toEqual([]);
      expect(await client.hexists(key, '0/a')).toBe(0);
    });

    it('A claim stays as long as its replica renews it', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const first = await start(prefix, 'r1', 100);
      await first.directory.claim(onFirst);
      const key = `${prefix}{${aliasOf('c1')}}`;
      const expiry = async () => Number((await client.hget(key, '0/a'))?.split(' ')[1]);
      const before = await expiry();
      await first.clock.advance(100);
      await expect.poll(expiry, soon).toBeGreaterThan(before);
    });

    it('A claim removes expired entries that are never looked up', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const key = `${prefix}{${aliasOf('c1')}}`;
      await client.hset(key, '0/gone', '5 6 holder {}');
      const first = await start(prefix, 'r1', never);
      await first.directory.claim(onFirst);
      expect((await client.hkeys(key)).toSorted()).toEqual(['0/a', 'epoch']);
    });

    it('A claim gets an epoch that is not below the time, so an empty Redis repeats none', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const first = await start(prefix, 'r1', never);
      const before = await first.directory.claim(onFirst);
      await client.del(`${prefix}{${aliasOf('c1')}}`);
      const second = await start(prefix, 'r2', never);
      const after = await second.directory.claim(onSecond);
      expect(after.epoch).toBeGreaterThan(before.epoch);
    });

    it("A claim gets an epoch above the stored one, even after Redis's clock went back", async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const ahead = Date.now() + 3600_000;
      await client.hset(`${prefix}{${aliasOf('c1')}}`, 'epoch', ahead);
      const { directory } = await start(prefix, 'r1', never);
      expect((await directory.claim(onFirst)).epoch).toBe(ahead + 1);
    });

    it('A claim is refused when its names are too long to be read back', async () => {
      const { directory } = await start(newPrefix(), 'r1', never);
      await expect(directory.claim({ ...onFirst, agent: 'x'.repeat(600) })).rejects.toMatchObject({
        code: 'protocol_error',
      });
      await expect(
        directory.claim({ ...onFirst, address: `ws://${'x'.repeat(3000)}` }),
      ).rejects.toMatchObject({ code: 'protocol_error' });
    });
  });

  describe('Deployments that share one Redis', () => {
    it('Deployments that share one Redis do not see each other', async () => {
      const one = await start(newPrefix(), 'r1', never);
      const other = await start(newPrefix(), 'r1', never);
      const fenced: unknown[] = [];
      one.directory.onFenced((claim) => fenced.push(claim));
      const claim = await one.directory.claim(onFirst);
      expect(await other.directory.locate('c1')).toEqual([]);
      const otherClaim = await other.directory.claim(onSecond);
      expect(await one.directory.locate('c1')).toEqual([claim]);
      await other.directory.release(otherClaim);
      expect(await one.directory.locate('c1')).toEqual([claim]);
      expect(fenced).toEqual([]);
    });

    it('Deployments cannot have braces in their key prefix, because they would put a cluster on two nodes', async () => {
      await expect(start('a{b}:', 'r1')).rejects.toThrow('braces');
    });
  });

  describe('Forged entries in Redis', () => {
    const good = (over: object = {}, epoch = Date.now()) =>
      `${epoch} ${Date.now() + 60_000} somebody ${JSON.stringify({ ...onFirst, agent: 'p', ...over })}`;
    const poisons: Record<string, string> = {
      garbage: '\u0000\u0001 not an entry',
      empty: '',
      'not JSON': `1 ${Date.now() + 60_000} somebody {"cluster":`,
      'a list': `1 ${Date.now() + 60_000} somebody [1]`,
      'no expiry': '1 somebody {}',
      'of another cluster': good({ cluster: 'c2' }),
      'of another tunnel': good({ agent: 'q' }),
      'a tunnel of the wrong type': good({ tunnel: '0' }),
      'a replica of the wrong type': good({ replica: 7 }),
      'without an address': good({ address: '' }),
      'an address that is no WebSocket': good({ address: 'http://127.0.0.1/' }),
      'an address with credentials': good({ address: 'ws://user:secret@r1/' }),
      'an address that is no URL': good({ address: '//' }),
      'an epoch beyond numbers': good({}, Number.MAX_SAFE_INTEGER),
      huge: good({ address: `ws://${'x'.repeat(1_000_000)}` }),
    };

    it.for(Object.entries(poisons))(
      'Forged entries are ignored and logged once: %s',
      async ([, poison]) => {
        const prefix = newPrefix();
        const first = await start(prefix, 'r1', never);
        const second = await start(prefix, 'r2', never);
        const claim = await first.directory.claim(onFirst);
        await clientOf(server).hset(`${prefix}{${aliasOf('c1')}}`, '0/p', poison);
        for (let times = 0; times < 3; times++) {
          second.directory.invalidate(claim);
          expect(await second.directory.locate('c1')).toEqual([claim]);
        }
        const told = second.lines.filter(({ event }) => event === 'directory entry ignored');
        expect(told).toHaveLength(1);
        expect(told[0]!.fields).toMatchObject({ key: `${aliasOf('c1')}/0/p` });
        expect(JSON.stringify(told)).not.toContain('secret');
      },
    );

    it('Forged entries are replaced by a claim of the same tunnel', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const key = `${prefix}{${aliasOf('c1')}}`;
      await client.hset(key, '0/a', 'garbage', 'epoch', 'garbage');
      const first = await start(prefix, 'r1', never);
      const second = await start(prefix, 'r2', never);
      const claim = await first.directory.claim(onFirst);
      expect(await second.directory.locate('c1')).toEqual([claim]);
    });

    it('Forged keys of a wrong type do not break look-ups or claims', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      await client.set(`${prefix}{${aliasOf('c1')}}`, 'a string');
      const first = await start(prefix, 'r1', never);
      const second = await start(prefix, 'r2', never);
      expect(await second.directory.locate('c1')).toEqual([]);
      const claim = await first.directory.claim(onFirst);
      await expect.poll(() => second.directory.locate('c1'), soon).toEqual([claim]);
      expect(second.directory.degraded).toBeUndefined();
    });

    it('Thousands of forged entries do not exceed the limits of a look-up', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const key = `${prefix}{${aliasOf('c1')}}`;
      const expiry = Date.now() + 60_000;
      const pipeline = client.pipeline();
      for (let n = 0; n < 2_000; n++) {
        const text = JSON.stringify({ ...onFirst, agent: `p${n}` });
        pipeline.hset(key, `0/p${n}`, `${n + 1} ${expiry} somebody ${text}`);
      }
      await pipeline.exec();
      const second = await start(prefix, 'r2', never);
      expect((await second.directory.locate('c1')).length).toBeLessThanOrEqual(257);
    });

    it('Forged messages on the channel change nothing', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const first = await start(prefix, 'r1', never);
      const fenced: unknown[] = [];
      first.directory.onFenced((claim) => fenced.push(claim));
      const claim = await first.directory.claim(onFirst);
      const channel = `${prefix}changes`;
      for (const message of [
        'x',
        '',
        'y'.repeat(100_000),
        `forger ${aliasOf('c1')} 0/a`,
        `forger ${aliasOf('c9')} 0/a`,
      ]) {
        expect(await client.publish(channel, message)).toBe(1);
      }
      await expect
        .poll(() => first.lines.map(({ event }) => event), soon)
        .toContain('directory message ignored');
      expect(await first.directory.locate('c1')).toEqual([claim]);
      const ignored = first.lines.filter(({ event }) => event === 'directory message ignored');
      expect(ignored).toHaveLength(1);
      expect(fenced).toEqual([]);
    });
  });
});
