import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { parseRedisUrl } from '../../../src/broker/redis/redis-target.ts';
import { openRedisTls } from '../../../src/broker/redis/redis-tls.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { ground } from '../../../testkit/ground/ground.ts';
import {
  FreezingProxy,
  newPrefix,
  RedisServer,
  type TestReplica,
  soon,
  startReplica,
  TlsRedis,
  told,
} from './redis-ground.ts';

const onFirst = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1:8080' };
const never = 1e9;
const untold = 'redis does not tell of changes';
const away = 'redis is away';

const logged = ({ lines }: TestReplica, event: string) =>
  lines.filter((line) => line.event === event).map(({ fields }) => fields);

describeWith(
  { redis: await ground.debian('redis-server') },
  'Redis with users, databases and families',
  ({ redis }) => {
    let server: RedisServer;
    beforeAll(async () => void (server = await RedisServer.start(redis)));
    afterAll(() => server?.[Symbol.asyncDispose]());

    const start = (url: string, replica: string, more: object = {}) =>
      startReplica({ redis: url, replica, keyPrefix: 'culvert:', heartbeatMs: never, ...more });
    const as = (userinfo: string, rest = '') =>
      `redis://${userinfo}@127.0.0.1:${server.port}${rest}`;

    describe('Redis with users', () => {
      /** As docs/operations.md has it. */
      let documented: string[];
      beforeAll(async () => {
        const text = await readFile(
          new URL('../../../docs/operations.md', import.meta.url),
          'utf8',
        );
        documented = /^ACL (SETUSER culvert .*)$/m.exec(text)![1]!.split(' ');
      });
      const allow = async (user: string, password: string, ...more: string[]) => {
        const [, , ...rules] = documented;
        const own = rules.map((rule) => (rule.startsWith('>') ? `>${password}` : rule));
        await server.call('ACL', 'SETUSER', user, ...own, ...more);
      };

      it('The directory needs only the documented rights in Redis', async () => {
        await allow('culvert', 'secret');
        const first = await start(as('culvert:secret'), 'r1');
        const second = await start(as('culvert:secret'), 'r2');
        expect(first.directory.degraded).toBeUndefined();
        const claim = await first.directory.claim(onFirst);
        await told(first, second);
        expect(await second.directory.locate('c1')).toEqual([claim]);
        await first.directory.release(claim);
        expect(first.directory.degraded).toBeUndefined();
        expect([...logged(first, away), ...logged(first, untold)]).toEqual([]);
      });

      it.each(
        '+eval +evalsha +time +type +set +pexpire +hget +hset +hrandfield'
          .split(' ')
          .map((right) => [right]),
      )('says so where it lacks %s', async (right) => {
        await allow('lacking', 'secret', `-${right.slice(1)}`);
        const replica = await start(as('lacking:secret'), 'r1', { keyPrefix: 'culvert:l' });
        await server.call('ACL', 'SETUSER', 'lacking', '~*');
        // The first run of a script uses EVAL, later ones use EVALSHA.
        await replica.directory.claim(onFirst);
        await replica.directory.claim(onFirst);
        expect(replica.directory.degraded).toMatch(/Redis refuses commands/);
        expect(logged(replica, away)[0]).toMatchObject({ code: 'refused' });
      });

      it.each([
        ['without rights on channels', ['resetchannels']],
        ['that may not publish', ['-publish']],
        ['that may not subscribe', ['-subscribe']],
      ])('serves a user %s, and says what is missing', async (_, rules) => {
        await allow('deaf', 'secret', ...rules);
        const first = await start(as('deaf:secret'), 'r1');
        const second = await start(as('deaf:secret'), 'r2');
        // One that may subscribe learns from its own writing that nobody is told.
        await second.directory.claim({ ...onFirst, cluster: 'c2', replica: 'r2' });
        const claim = await first.directory.claim(onFirst);
        expect(await second.directory.locate('c1')).toEqual([claim]);
        const again = await first.directory.claim(onFirst);
        // Nobody tells it; it looks again after a second.
        await second.clock.advance(1_001);
        expect(await second.directory.locate('c1')).toEqual([again]);
        await first.directory.release(again);
        expect(first.directory.degraded).toMatch(
          /^Redis does not tell of changes \(.*; grant its user \+subscribe \+publish &culvert:changes\)/,
        );
        const lines = logged(first, untold);
        expect(lines[0]?.['error']).toMatch(/NOPERM|permission|user executing/i);
        expect(lines).toHaveLength(1);
        expect(logged(first, away)).toEqual([]);
      });

      it.each(['p/w?x#y@z:1', 'ü &+=;,"\'', '{}[]|\\^`<>'])(
        'The directory accepts the unencoded password %j',
        async (password) => {
          await allow('odd', password);
          const { directory } = await start(as(`odd:${password}`), 'r1');
          expect(directory.degraded).toBeUndefined();
        },
      );

      it('The directory accepts an encoded % and white space around the URL', async () => {
        await allow('odd', '100%25 sure');
        const { directory } = await start(` ${as('odd:100%2525 sure')}\n`, 'r1');
        expect(directory.degraded).toBeUndefined();
      });

      it('The directory never logs a wrong password', async () => {
        await allow('culvert', 'secret');
        const replica = await start(as('culvert:hunter2/'), 'r1');
        expect(replica.directory.degraded).toMatch(/WRONGPASS/);
        expect(JSON.stringify(replica.lines) + replica.directory.degraded).not.toContain('hunter2');
      });
    });

    it('The directory keeps each deployment in the database of its URL', async () => {
      const third = `redis://127.0.0.1:${server.port}/3`;
      const keyPrefix = newPrefix();
      const first = await start(third, 'r1', { keyPrefix });
      const second = await start(third, 'r2', { keyPrefix });
      const elsewhere = await start(server.url, 'r3', { keyPrefix });
      const claim = await first.directory.claim(onFirst);
      await told(first, second);
      expect(await second.directory.locate('c1')).toEqual([claim]);
      expect(await elsewhere.directory.locate('c1')).toEqual([]);
    });

    it('The directory connects to addresses of the family in the URL', async () => {
      const url = (family: number) => `redis://localhost:${server.port}?family=${family}`;
      const four = await start(url(4), 'r1');
      expect(four.directory.degraded).toBeUndefined();
      // It listens on 127.0.0.1 alone.
      const six = await start(url(6), 'r2');
      expect(six.directory.degraded).toMatch(/does not answer/);
    });

    it('The directory logs each cause of an outage once', async () => {
      await using proxy = await FreezingProxy.start(server.port);
      await server.call(
        'ACL',
        'SETUSER',
        'changing',
        'reset',
        'on',
        '>secret',
        '~*',
        '&*',
        '+@all',
      );
      const url = proxy.url.replace('://', '://changing:secret@');
      const replica = await start(url, 'r1', { commandTimeoutMs: 500 });
      const reasons = () =>
        [away, `${away} for another reason`]
          .flatMap((event) => logged(replica, event))
          .map(({ error }) => String(error));
      expect(reasons()).toEqual([]);
      proxy.freeze();
      await replica.directory.claim(onFirst);
      await replica.directory.claim(onFirst);
      expect(reasons()[0]).toContain('no answer within');
      await server.call('ACL', 'SETUSER', 'changing', '-eval', '-evalsha');
      proxy.thaw();
      await expect
        .poll(async () => {
          await replica.directory.claim(onFirst);
          return reasons();
        }, soon)
        .toContainEqual(expect.stringMatching(/NOPERM/));
      await replica.directory.claim(onFirst);
      expect(new Set(reasons()).size).toBe(reasons().length);
    });
  },
);

describeWith(
  { redis: await ground.debian('redis-server') },
  'Redis Sentinel with users',
  (real) => {
    it('Sentinels are asked with their own user and password', async () => {
      await using master = await RedisServer.start(real.redis, { requirepass: 'of-redis' });
      await using sentinel = await RedisServer.startSentinel(real.redis, [
        `sentinel monitor main 127.0.0.1 ${master.port} 1`,
        'sentinel auth-pass main of-redis',
        'user default off',
        'user broker on >of/sentinel% ~* &* +@all',
      ]);
      const url = (query: string) =>
        `redis+sentinel://:of-redis@127.0.0.1:${sentinel.port}/main/2${query}`;
      const start = (query: string) =>
        startReplica({
          redis: url(query),
          replica: 'r1',
          keyPrefix: newPrefix(),
          heartbeatMs: never,
          commandTimeoutMs: 3_000,
        });
      const given = '?sentinel_user=broker&sentinel_password=of/sentinel%25';
      const { directory } = await start(given);
      expect(directory.degraded).toBeUndefined();
      const without = await start('');
      expect(without.directory.degraded).toMatch(/NOAUTH/);
      const wrong = await start('?sentinel_user=broker&sentinel_password=hunter2');
      expect(wrong.directory.degraded).toMatch(/WRONGPASS/);
      expect(JSON.stringify(wrong.lines) + wrong.directory.degraded).not.toContain('hunter2');
    });
  },
);

describeWith({ redis: await ground.debian('redis-server') }, 'Redis with TLS files', (real) => {
  let tlsRedis: TlsRedis;
  beforeAll(async () => void (tlsRedis = await TlsRedis.start(real.redis, 'yes')));
  afterAll(() => tlsRedis?.[Symbol.asyncDispose]());

  it('The directory uses changed TLS files for its next connection', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-redis-tls-'));
    onTestFinished(() => rm(directory, { recursive: true }));
    const at = (name: string) => join(directory, name);
    const { server: trusted, client, stranger } = tlsRedis.certificates;
    await copyFile(stranger.ca, at('ca'));
    await copyFile(stranger.cert, at('cert'));
    await copyFile(stranger.key, at('key'));
    const replica = await startReplica({
      redis: tlsRedis.url,
      tls: { caFile: at('ca'), certFile: at('cert'), keyFile: at('key') },
      replica: 'r1',
      keyPrefix: newPrefix(),
      heartbeatMs: 1_000,
    });
    expect(replica.directory.degraded).toMatch(/certificate/);
    await copyFile(trusted.ca, at('ca'));
    await copyFile(client.cert, at('cert'));
    await copyFile(client.key, at('key'));
    const [files] = replica.directory.files;
    await expect.poll(() => files!.reloads, { timeout: 20_000 }).toBeGreaterThan(0);
    await expect
      .poll(async () => {
        await replica.clock.advance(1_000);
        return replica.directory.degraded;
      }, soon)
      .toBeUndefined();
    // Half of a pair does not replace the good one.
    await copyFile(stranger.key, at('key'));
    await expect.poll(() => files!.stale, { timeout: 20_000 }).toBe(true);
    const claim = await replica.directory.claim(onFirst);
    expect(await replica.directory.locate('c1')).toEqual([claim]);
  });

  it('The directory trusts the well-known CAs besides the file', async () => {
    const { ca } = tlsRedis.certificates.server;
    const target = parseRedisUrl('rediss://r');
    const tls = await openRedisTls(target, { caFile: ca }, silentLogger);
    const [wellKnown = ''] = getCACertificates('default');
    expect(wellKnown).toContain('BEGIN CERTIFICATE');
    expect(String(tls?.options.ca)).toContain(wellKnown);
    expect(String(tls?.options.ca)).toContain((await readFile(ca, 'utf8')).trim());
    tls?.files?.[Symbol.dispose]();
    const plain = await openRedisTls(parseRedisUrl('redis://r'), { caFile: ca }, silentLogger);
    expect(plain).toBeUndefined();
  });
});
