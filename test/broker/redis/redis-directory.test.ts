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

  it('names a cluster in its keys as everybody else does', async () => {
    expect(aliasOf('c1')).toBe(await clusterAlias('c1'));
  });

  describe('a look-up', () => {
    /** How many commands of the directory Redis has seen. */
    async function countScripts(client: ReturnType<typeof clientOf>): Promise<number> {
      const stats = await client.info('commandstats');
      const calls = [...stats.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)];
      return calls.reduce((sum, [, count]) => sum + Number(count), 0);
    }

    it('asks Redis nothing for a cached route, by name or by alias, and again when it is old', async () => {
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

    it('asks Redis once for many who ask at the same time', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const { directory } = await start(prefix, 'r1', never);
      const before = await countScripts(client);
      await Promise.all(Array.from({ length: 50 }, () => directory.locate('c1')));
      expect(await countScripts(client)).toBe(before + 1);
    });

    it('remembers for a second that there is no agent', async () => {
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

    it('asks anew after distrust, and stops believing a route that is gone', async () => {
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

    it('does not find claims that were made under its own name before it started', async () => {
      const prefix = newPrefix();
      const before = await start(prefix, 'r1', never);
      await before.directory.claim(onFirst);
      await before.directory.close();
      const after = await start(prefix, 'r1', never);
      expect(await after.directory.locate('c1')).toEqual([]);
    });
  });

  describe('a claim', () => {
    it('expires three heartbeats after the last word of its replica, and leaves nothing behind', async () => {
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

    it('stays for as long as its replica says so', async () => {
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

    it('sweeps away what nobody looks up', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const key = `${prefix}{${aliasOf('c1')}}`;
      await client.hset(key, '0/gone', '5 6 holder {}');
      const first = await start(prefix, 'r1', never);
      await first.directory.claim(onFirst);
      expect((await client.hkeys(key)).toSorted()).toEqual(['0/a', 'epoch']);
    });

    it('gets an epoch that is not below the time, so that none is given out twice by an empty store', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const first = await start(prefix, 'r1', never);
      const before = await first.directory.claim(onFirst);
      await client.del(`${prefix}{${aliasOf('c1')}}`);
      const second = await start(prefix, 'r2', never);
      const after = await second.directory.claim(onSecond);
      expect(after.epoch).toBeGreaterThan(before.epoch);
    });

    it('gets an epoch above the one that Redis remembers, even when its clock went back', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const ahead = Date.now() + 3600_000;
      await client.hset(`${prefix}{${aliasOf('c1')}}`, 'epoch', ahead);
      const { directory } = await start(prefix, 'r1', never);
      expect((await directory.claim(onFirst)).epoch).toBe(ahead + 1);
    });

    it('is refused when its names are too long to be read back', async () => {
      const { directory } = await start(newPrefix(), 'r1', never);
      await expect(directory.claim({ ...onFirst, agent: 'x'.repeat(600) })).rejects.toMatchObject({
        code: 'protocol_error',
      });
      await expect(
        directory.claim({ ...onFirst, address: `ws://${'x'.repeat(3000)}` }),
      ).rejects.toMatchObject({ code: 'protocol_error' });
    });
  });

  describe('deployments that share one Redis', () => {
    it('see nothing of each other', async () => {
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

    it('cannot have braces in their prefix, which would put a cluster on two nodes', async () => {
      await expect(start('a{b}:', 'r1')).rejects.toThrow('braces');
    });
  });

  describe('poisoned entries', () => {
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

    it.for(Object.entries(poisons))('are left out, and told once: %s', async ([, poison]) => {
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
    });

    it('give way to a claim of the same tunnel', async () => {
      const prefix = newPrefix();
      const client = clientOf(server);
      const key = `${prefix}{${aliasOf('c1')}}`;
      await client.hset(key, '0/a', 'garbage', 'epoch', 'garbage');
      const first = await start(prefix, 'r1', never);
      const second = await start(prefix, 'r2', never);
      const claim = await first.directory.claim(onFirst);
      expect(await second.directory.locate('c1')).toEqual([claim]);
    });

    it('of a wrong type hold up neither look-ups nor claims', async () => {
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

    it('by the thousand do not hide the limits of a look-up', async () => {
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

    it('on the channel change nothing', async () => {
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
