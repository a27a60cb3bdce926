import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { RedisConnection } from '../../../src/broker/redis/redis-connection.ts';
import { aliasOf } from '../../../src/broker/redis/redis-entry.ts';
import { redisScripts, ScriptStatus } from '../../../src/broker/redis/redis-scripts.ts';
import { RedisStore } from '../../../src/broker/redis/redis-store.ts';
import { parseRedisUrl } from '../../../src/broker/redis/redis-target.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { ground } from '../../../testkit/ground/ground.ts';
import { clientOf, newPrefix, RedisServer } from './redis-ground.ts';

const alias = aliasOf('c1');
const field = '0/a';
const text = '{"a":1}';

describeWith({ redis: await ground.debian('redis-server') }, 'The Redis scripts', ({ redis }) => {
  let server: RedisServer;
  let connection: RedisConnection;

  beforeAll(async () => {
    server = await RedisServer.start(redis);
    const target = parseRedisUrl(server.url);
    connection = await RedisConnection.create({
      target,
      channel: 'none',
      commandTimeoutMs: 5_000,
      log: silentLogger,
    });
    await connection.open({
      onReady() {},
      onLost() {},
      onSubscribed() {},
      onSubscribeRefused() {},
      onMessage() {},
    });
  });
  afterAll(async () => {
    connection?.close();
    await server?.[Symbol.asyncDispose]();
  });

  const storeOf = (keyPrefix: string, holder: string) =>
    new RedisStore({
      connection,
      clock: systemClock,
      keyPrefix,
      holder,
      expiryMs: 60_000,
      commandTimeoutMs: 5_000,
      health: { published() {}, notificationsRefused() {} },
    });
  /** Two processes, and the entry that both are about. */
  function twoStores() {
    const prefix = newPrefix();
    const client = clientOf(server);
    return {
      ours: storeOf(prefix, 'ours'),
      theirs: storeOf(prefix, 'theirs'),
      entry: () => client.hget(`${prefix}{${alias}}`, field),
    };
  }
  const claimed = (epoch: number) => ({ alias, field, text, record: { epoch } });

  it('The scripts refuse to renew or release an older claim of another process', async () => {
    const { ours, theirs, entry } = twoStores();
    const old = await ours.claim({ alias, field, text }, 0);
    const newer = await theirs.claim({ alias, field, text }, 0);
    const before = await entry();
    expect(await ours.renew([claimed(old)])).toEqual(['fenced']);
    expect(await ours.release(claimed(old))).toBe(false);
    expect(await entry()).toBe(before);
    expect(await theirs.renew([claimed(newer)])).toEqual(['held']);
    expect(await theirs.release(claimed(newer))).toBe(true);
  });

  it('The scripts refuse to release an older claim of the same process', async () => {
    const { ours, entry } = twoStores();
    const old = await ours.claim({ alias, field, text }, 0);
    await ours.claim({ alias, field, text }, 0);
    const before = await entry();
    expect(await ours.release(claimed(old))).toBe(false);
    expect(await entry()).toBe(before);
  });

  it('The scripts choose the same winner for both claims of one epoch', async () => {
    const { ours, theirs, entry } = twoStores();
    const epoch = Date.now();
    expect(await ours.renew([claimed(epoch)])).toEqual(['held']);
    expect(await theirs.renew([claimed(epoch)])).toEqual(['held']);
    expect(await ours.renew([claimed(epoch)])).toEqual(['fenced']);
    expect(await entry()).toContain(' theirs ');
    expect(await ours.release(claimed(epoch))).toBe(false);
    expect(await entry()).toContain(text);
  });

  it("The scripts assign an epoch that is not below the caller's floor", async () => {
    const { ours } = twoStores();
    const floor = Date.now() + 1e6;
    expect(await ours.claim({ alias, field, text }, floor)).toBe(floor);
  });

  it('The scripts do nothing for a caller that has timed out', async () => {
    const key = `${newPrefix()}{${alias}}`;
    const client = clientOf(server);
    const late = [Date.now() - 2_000, 1_000];
    const writing = [field, 'ours', 'none', 60_000, 60_000, 5, text];
    for (const script of [redisScripts.claim, redisScripts.renew, redisScripts.release]) {
      const answer = await connection.run(script, key, [...late, ...writing]);
      expect(answer).toEqual([ScriptStatus.late, expect.any(Number)]);
    }
    expect(await client.exists(key)).toBe(0);
  });

  it('The scripts accept a caller whose clock is wrong', async () => {
    let aheadMs = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + aheadMs };
    const store = new RedisStore({
      connection,
      clock,
      keyPrefix: newPrefix(),
      holder: 'ours',
      expiryMs: 60_000,
      commandTimeoutMs: 1_000,
      health: { published() {}, notificationsRefused() {} },
    });
    await store.ping();
    aheadMs = -3600_000;
    const epoch = await store.claim({ alias, field, text }, 0);
    expect(Math.abs(epoch - Date.now())).toBeLessThan(60_000);
    aheadMs = -7200_000;
    expect(await store.renew([claimed(epoch)])).toEqual(['held']);
  });

  it('The scripts are loaded again by a Redis that has forgotten them', async () => {
    const { ours } = twoStores();
    await ours.ping();
    await server.call('SCRIPT', 'FLUSH');
    await ours.ping();
    await server.call('SCRIPT', 'FLUSH');
    expect(await ours.renew([claimed(5), claimed(6)])).toEqual(['held', 'held']);
  });
});
