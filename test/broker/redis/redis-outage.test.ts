import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import type { AgentRecord, Directory } from '../../../src/broker/directory.ts';
import { aliasOf } from '../../../src/broker/redis/redis-entry.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { ground } from '../../../testkit/ground/ground.ts';
import { clientOf, FreezingProxy, RedisServer, startReplica, soon, told } from './redis-ground.ts';

const onFirst = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1:8080' };
const onSecond = { ...onFirst, replica: 'r2', address: 'ws://r2:8080' };
const key = `culvert:{${aliasOf('c1')}}`;
const never = 1e9;

/** What a directory answers for c1 all the time until this is stopped: the answers that were not `expected`. */
async function watch(
  directory: Directory,
  expected: readonly AgentRecord[],
): Promise<() => Promise<unknown[]>> {
  const others: unknown[] = [];
  const stop = new AbortController();
  const watched = (async () => {
    while (!stop.signal.aborted) {
      const answer = await directory.locate('c1').catch((error: unknown) => error);
      if (JSON.stringify(answer) !== JSON.stringify(expected)) others.push(answer);
      await turn();
    }
  })();
  return async () => {
    stop.abort();
    await watched;
    return others;
  };
}

function fencedBy(directory: Directory): AgentRecord[] {
  const fenced: AgentRecord[] = [];
  directory.onFenced((claim) => fenced.push(claim));
  return fenced;
}

describeWith(
  { redis: await ground.debian('redis-server') },
  'Redis during outages',
  ({ redis }) => {
    /** A replica in real time. */
    const live = (url: string, replica: string) =>
      startReplica({
        redis: url,
        replica,
        clock: systemClock,
        heartbeatMs: 400,
        commandTimeoutMs: 250,
      });
    /** A replica whose time stands still. */
    const still = (
      url: string,
      replica: string,
      { heartbeatMs = never, commandTimeoutMs = 250 } = {},
    ) => startReplica({ redis: url, replica, heartbeatMs, commandTimeoutMs });

    describe('Redis that is killed and restarted', () => {
      it('The directory orders claims of one tunnel that are made at the same time while Redis is away', async () => {
        await using server = await RedisServer.start(redis);
        const { directory } = await still(server.url, 'r1');
        const fenced = fencedBy(directory);
        await server.kill();
        const claims = await Promise.all([directory.claim(onFirst), directory.claim(onFirst)]);
        const [older, newer] = claims.toSorted((a, b) => a.epoch - b.epoch);
        expect(newer!.epoch).toBeGreaterThan(older!.epoch);
        expect(await directory.locate('c1')).toEqual([newer]);
        expect(fenced).toEqual([older]);
      });

      it('Known routes answer during an outage, and claims made meanwhile are stored afterwards', async () => {
        await using server = await RedisServer.start(redis);
        const first = await live(server.url, 'r1');
        const second = await live(server.url, 'r2');
        const claim = await first.directory.claim(onFirst);
        await expect.poll(() => second.directory.locate('c1'), soon).toEqual([claim]);
        const stopWatching = await watch(second.directory, [claim]);

        await server.kill();
        await expect.poll(() => first.directory.degraded, soon).toContain('does not answer');
        await expect.poll(() => second.directory.degraded, soon).toContain('does not answer');
        expect(await first.directory.locate('c1')).toEqual([claim]);
        const meanwhile = await first.directory.claim({ ...onFirst, cluster: 'c2' });
        expect(await first.directory.locate('c2')).toEqual([meanwhile]);
        expect(first.directory.degraded).toContain('wait for it: 1');
        await expect(second.directory.locate('c2')).rejects.toMatchObject({ code: 'no_agent' });

        await server.startAgain();
        await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
        await expect.poll(() => second.directory.degraded, soon).toBeUndefined();
        const third = await still(server.url, 'r3');
        expect(await third.directory.locate('c1')).toEqual([claim]);
        expect(await third.directory.locate('c2')).toEqual([meanwhile]);
        expect(await second.directory.locate('c2')).toEqual([meanwhile]);
        expect(await stopWatching()).toEqual([]);
        const events = first.lines.map(({ event }) => event);
        expect(events.filter((event) => event === 'redis is away')).toHaveLength(1);
        expect(events.filter((event) => event === 'redis is back')).toHaveLength(1);
      });

      it('A route that its owner denies is dropped during an outage', async () => {
        await using server = await RedisServer.start(redis);
        const first = await still(server.url, 'r1');
        const second = await still(server.url, 'r2');
        const one = await first.directory.claim(onFirst);
        const two = await first.directory.claim({ ...onFirst, tunnel: 1 });
        await told(first, second);
        expect(await second.directory.locate('c1')).toEqual([two, one]);
        await server.kill();
        await expect.poll(() => second.directory.degraded, soon).toBeDefined();
        second.directory.invalidate(one);
        expect(await second.directory.locate('c1')).toEqual([two]);
      });

      it('The newer of two claims that were made during an outage wins', async () => {
        await using server = await RedisServer.start(redis);
        const first = await live(server.url, 'r1');
        const second = await live(server.url, 'r2');
        const fenced = fencedBy(first.directory);
        const stored = await first.directory.claim(onFirst);
        await server.kill();
        const older = await first.directory.claim(onFirst);
        expect(older.epoch).toBeGreaterThan(stored.epoch);
        const at = Date.now();
        await expect.poll(() => Date.now(), soon).toBeGreaterThan(at + 5);
        const newer = await second.directory.claim(onSecond);
        await server.startAgain();
        for (const { directory } of [first, second]) {
          await expect.poll(() => directory.locate('c1'), soon).toEqual([newer]);
          await expect.poll(() => directory.degraded, soon).toBeUndefined();
        }
        await expect.poll(() => fenced, soon).toEqual([stored, older]);
      });

      it('A replica that starts during an outage works alone and joins the others later', async () => {
        await using server = await RedisServer.start(redis);
        await server.kill();
        const first = await live(server.url, 'r1');
        expect(first.directory.degraded).toContain('ECONNREFUSED');
        const claim = await first.directory.claim(onFirst);
        expect(await first.directory.locate('c1')).toEqual([claim]);
        await server.startAgain();
        const second = await still(server.url, 'r2');
        await expect.poll(() => second.directory.locate('c1'), soon).toEqual([claim]);
        await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
      });
    });

    describe('Redis that is frozen', () => {
      it('Calls end within the command timeout, and timed-out commands have no effect later', async () => {
        await using server = await RedisServer.start(redis);
        const first = await live(server.url, 'r1');
        const second = await live(server.url, 'r2');
        const before = await first.directory.claim(onFirst);
        await expect.poll(() => second.directory.locate('c1'), soon).toEqual([before]);

        server.pause();
        const claim = await first.directory.claim(onFirst);
        expect(claim.epoch).toBeGreaterThan(before.epoch);
        expect(first.directory.degraded).toContain('no answer within 250 ms');
        expect(await first.directory.locate('c1')).toEqual([claim]);
        second.directory.invalidate({ ...before, epoch: 0 });
        expect(await second.directory.locate('c1')).toEqual([before]);
        await expect(second.directory.locate('c2')).rejects.toMatchObject({ code: 'no_agent' });

        server.resume();
        await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
        const third = await still(server.url, 'r3');
        expect(await third.directory.locate('c1')).toEqual([claim]);
        await expect.poll(() => second.directory.locate('c1'), soon).toEqual([claim]);
      });

      it('A claim that was released while Redis was frozen stays released', async () => {
        await using server = await RedisServer.start(redis);
        const first = await live(server.url, 'r1');
        const claim = await first.directory.claim(onFirst);
        server.pause();
        await first.directory.release(claim);
        expect(await first.directory.locate('c1').catch(() => [])).toEqual([]);
        expect(first.directory.degraded).toContain('wait for it: 1');
        server.resume();
        await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
        const second = await still(server.url, 'r2');
        expect(await second.directory.locate('c1')).toEqual([]);
      });
    });

    describe('Redis that is flushed', () => {
      it('Every route is restored one heartbeat after a flush, with its epoch', async () => {
        await using server = await RedisServer.start(redis);
        const client = clientOf(server);
        const first = await still(server.url, 'r1', { heartbeatMs: 10_000 });
        const claim = await first.directory.claim(onFirst);
        await client.flushall();
        const second = await still(server.url, 'r2');
        expect(await second.directory.locate('c1')).toEqual([]);
        await first.clock.advance(10_000);
        // The message of the claim ends what is remembered of its absence.
        await expect.poll(() => second.directory.locate('c1'), soon).toEqual([claim]);
      });

      it('A known route is kept after a flush until all replicas have had a heartbeat, and no longer', async () => {
        await using server = await RedisServer.start(redis);
        const client = clientOf(server);
        const gone = await still(server.url, 'r1');
        const second = await still(server.url, 'r2', { heartbeatMs: 10_000 });
        const claim = await gone.directory.claim(onFirst);
        await expect.poll(() => second.directory.locate('c1'), soon).toEqual([claim]);
        await gone.directory.close();
        await client.flushall();
        await second.clock.advance(9_000);
        second.directory.invalidate({ ...claim, epoch: 0 });
        expect(await second.directory.locate('c1')).toEqual([claim]);
        for (let seconds = 0; seconds < 10; seconds++) {
          await second.clock.advance(1_000);
          expect(await second.directory.locate('c1')).toEqual([claim]);
        }
        await second.clock.advance(1_001);
        expect(await second.directory.locate('c1')).toEqual([]);
      });

      it('A replica that notices a flush renews its own claims at once', async () => {
        await using server = await RedisServer.start(redis);
        const client = clientOf(server);
        const first = await still(server.url, 'r1');
        const second = await still(server.url, 'r2');
        const mine = await second.directory.claim({ ...onSecond, cluster: 'c2' });
        const claim = await first.directory.claim(onFirst);
        await expect.poll(() => second.directory.locate('c1'), soon).toEqual([claim]);
        await client.flushall();
        second.directory.invalidate({ ...claim, epoch: 0 });
        await second.directory.locate('c1');
        await second.clock.advance(0);
        await expect.poll(() => first.directory.locate('c2'), soon).toEqual([mine]);
      });
    });

    describe('An owner of a claim that was suspended', () => {
      it('A suspended owner neither renews nor releases a newer claim of another replica, and is fenced', async () => {
        await using server = await RedisServer.start(redis);
        await using proxy = await FreezingProxy.start(server.port);
        const first = await live(proxy.url, 'r1');
        const second = await live(server.url, 'r2');
        const fenced = fencedBy(first.directory);
        const old = await first.directory.claim(onFirst);
        const other = await first.directory.claim({ ...onFirst, tunnel: 1 });
        proxy.freeze();
        const moved = await second.directory.claim(onSecond);
        const otherMoved = await second.directory.claim({ ...onSecond, tunnel: 1 });
        await first.directory.release(other);
        await expect.poll(() => first.directory.degraded, soon).toContain('no answer');
        proxy.thaw();
        await expect.poll(() => fenced, soon).toEqual([old]);
        await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
        for (const { directory } of [first, second]) {
          expect(await directory.locate('c1')).toEqual([otherMoved, moved]);
        }
        expect((await clientOf(server).hget(key, '0/a'))?.split(' ')[0]).toBe(`${moved.epoch}`);
      });

      it('An owner does not renew a claim while it makes a newer one', async () => {
        await using server = await RedisServer.start(redis);
        await using proxy = await FreezingProxy.start(server.port);
        const first = await startReplica({ redis: proxy.url, replica: 'r1', heartbeatMs: never });
        const client = clientOf(server);
        await first.directory.claim(onFirst);
        proxy.freeze();
        const newer = first.directory.claim(onFirst);
        // It seems that somebody else claims the tunnel: time to say whose it is, or not.
        await client.publish('culvert:changes', `somebody ${aliasOf('c1')} 0/a`);
        await client.publish('culvert:changes', 'after that');
        const events = () => first.lines.map(({ event }) => event);
        await expect.poll(events, soon).toContain('directory message ignored');
        proxy.thaw();
        const { epoch } = await newer;
        // What was sent after it has arrived as well.
        await first.directory.locate('c1');
        expect((await client.hget(key, '0/a'))?.split(' ')[0]).toBe(`${epoch}`);
      });

      it('A suspended owner cannot claim again after the newer claim was released', async () => {
        await using server = await RedisServer.start(redis);
        await using proxy = await FreezingProxy.start(server.port);
        const first = await live(proxy.url, 'r1');
        const second = await live(server.url, 'r2');
        const fenced = fencedBy(first.directory);
        const old = await first.directory.claim(onFirst);
        proxy.freeze();
        await second.directory.release(await second.directory.claim(onSecond));
        await expect.poll(() => first.directory.degraded, soon).toContain('no answer');
        proxy.thaw();
        await expect.poll(() => fenced, soon).toEqual([old]);
        expect(await second.directory.locate('c1')).toEqual([]);
        expect(await first.directory.locate('c1')).toEqual([]);
      });

      it('A suspended owner learns by its heartbeat of changes that it missed', async () => {
        await using server = await RedisServer.start(redis);
        const client = clientOf(server);
        const first = await still(server.url, 'r1', { heartbeatMs: 10_000 });
        const fenced = fencedBy(first.directory);
        const old = await first.directory.claim(onFirst);
        const newer = `${old.epoch + 5} ${Date.now() + 60_000} other ${JSON.stringify(onSecond)}`;
        await client.hset(key, '0/a', newer);
        await first.clock.advance(10_000);
        await expect.poll(() => fenced, soon).toEqual([old]);
        expect(await client.hget(key, '0/a')).toBe(newer);
        expect(await first.directory.locate('c1')).toEqual([{ ...onSecond, epoch: old.epoch + 5 }]);
      });
    });

    describe('Redis without messages', () => {
      it('A replica learns of missed changes as soon as it is subscribed again', async () => {
        await using server = await RedisServer.start(redis);
        const client = clientOf(server);
        const first = await still(server.url, 'r1');
        const second = await still(server.url, 'r2');
        const one = await first.directory.claim(onFirst);
        await told(first, second);
        expect(await second.directory.locate('c1')).toEqual([one]);
        await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        const two = await first.directory.claim({ ...onFirst, tunnel: 1 });
        await expect.poll(() => second.directory.locate('c1'), soon).toEqual([two, one]);
        await expect.poll(() => second.directory.degraded, soon).toBeUndefined();
      });

      it('A replica without messages is degraded, and looks routes up again after a second', async () => {
        await using server = await RedisServer.start(redis);
        const client = clientOf(server);
        await client.acl('SETUSER', 'deaf', 'on', '>pw', '~*', '&*', '+@all', '-subscribe');
        const first = await still(server.url, 'r1');
        const deaf = await still(`redis://deaf:pw@127.0.0.1:${server.port}`, 'r2');
        expect(deaf.directory.degraded).toContain('does not tell of changes');
        expect(await deaf.directory.locate('c1')).toEqual([]);
        const claim = await first.directory.claim(onFirst);
        await deaf.clock.advance(1_001);
        expect(await deaf.directory.locate('c1')).toEqual([claim]);
        await first.directory.release(claim);
        await deaf.clock.advance(1_001);
        expect(await deaf.directory.locate('c1')).toEqual([]);
      });
    });

    describe('Redis that refuses commands', () => {
      it('The directory reports a wrong password without the password', async () => {
        await using server = await RedisServer.start(redis, { requirepass: 'right-one' });
        const { directory, lines } = await live(
          `redis://:wrong-one@127.0.0.1:${server.port}`,
          'r1',
        );
        expect(directory.degraded).toContain('WRONGPASS');
        expect(JSON.stringify([directory.degraded, lines])).not.toContain('wrong-one');
        const claim = await directory.claim(onFirst);
        expect(await directory.locate('c1')).toEqual([claim]);
      });

      it('The directory reconnects when its Redis has become a replica', async () => {
        await using server = await RedisServer.start(redis);
        const client = clientOf(server);
        const first = await live(server.url, 'r1');
        const connections = async () => {
          const list = String(await client.call('CLIENT', 'LIST', 'TYPE', 'normal'));
          const own = await client.client('ID');
          return [...list.matchAll(/^id=(\d+)/gm)]
            .map(([, id]) => Number(id))
            .filter((id) => id !== own);
        };
        const before = await connections();
        expect(before).toHaveLength(1);
        await client.call('REPLICAOF', '127.0.0.1', '1');
        const claim = await first.directory.claim(onFirst);
        await expect.poll(connections, soon).not.toContain(before[0]);
        await client.call('REPLICAOF', 'NO', 'ONE');
        await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
        const second = await still(server.url, 'r2');
        expect(await second.directory.locate('c1')).toEqual([claim]);
      });

      it('The directory is degraded while Redis refuses writes, and stores everything afterwards', async () => {
        await using server = await RedisServer.start(redis);
        const client = clientOf(server);
        const first = await live(server.url, 'r1');
        await client.config('SET', 'maxmemory', '1');
        const claim = await first.directory.claim(onFirst);
        expect(first.directory.degraded).toContain('refuses commands (OOM');
        await client.config('SET', 'maxmemory', '0');
        await expect.poll(() => first.directory.degraded, soon).toBeUndefined();
        const second = await still(server.url, 'r2');
        expect(await second.directory.locate('c1')).toEqual([claim]);
      });
    });

    it('The directory renews more claims than fit into a batch', async () => {
      await using server = await RedisServer.start(redis);
      const client = clientOf(server);
      // Large batches take their time on a busy machine, and a batch that is late waits for the next
      // heartbeat.
      const patient = { heartbeatMs: 10_000, commandTimeoutMs: 10_000 };
      const first = await still(server.url, 'r1', patient);
      const clusters = Array.from({ length: 1_200 }, (_, n) => `n${n}`);
      await Promise.all(clusters.map((cluster) => first.directory.claim({ ...onFirst, cluster })));
      await client.flushall();
      await first.clock.advance(10_000);
      await expect
        .poll(async () => {
          await first.clock.advance(25);
          // The sign of life is a key as well.
          return client.dbsize();
        }, soon)
        .toBe(clusters.length + 1);
    });
  },
);
