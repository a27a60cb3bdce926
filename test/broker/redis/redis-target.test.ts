import { expect, it } from 'vitest';
import { describeTarget, parseRedisUrl } from '../../../src/broker/redis/redis-target.ts';

it.for([
  ['redis://r', { kind: 'single', node: { host: 'r', port: 6379 }, db: 0, tls: false }],
  ['rediss://r:1/3', { kind: 'single', node: { host: 'r', port: 1 }, db: 3, tls: true }],
  ['redis://[::1]:7', { kind: 'single', node: { host: '::1', port: 7 }, db: 0, tls: false }],
  [
    'redis+sentinel://a,b:2/main',
    {
      kind: 'sentinel',
      sentinels: [
        { host: 'a', port: 26379 },
        { host: 'b', port: 2 },
      ],
      masterName: 'main',
      db: 0,
      tls: false,
    },
  ],
  [
    'rediss+sentinel://a/my%20master/4',
    {
      kind: 'sentinel',
      sentinels: [{ host: 'a', port: 26379 }],
      masterName: 'my master',
      db: 4,
      tls: true,
    },
  ],
  [
    'rediss+cluster://a:1,b',
    {
      kind: 'cluster',
      clusterNodes: [
        { host: 'a', port: 1 },
        { host: 'b', port: 6379 },
      ],
      tls: true,
    },
  ],
  [
    ' \trediss://r:1/3?family=6 \n',
    { kind: 'single', node: { host: 'r', port: 1 }, db: 3, tls: true, family: 6 },
  ],
  ['redis://r?family=0', { kind: 'single', node: { host: 'r', port: 6379 }, db: 0, tls: false }],
  ['redis://r/?', { kind: 'single', node: { host: 'r', port: 6379 }, db: 0, tls: false }],
  [
    'redis+cluster://a?family=4',
    { kind: 'cluster', clusterNodes: [{ host: 'a', port: 6379 }], tls: false, family: 4 },
  ],
] as const)('reads %j', ([url, target]) => {
  expect(parseRedisUrl(url)).toEqual(target);
});

it('A Redis URL has a user and a password, and the password stays secret', () => {
  const target = parseRedisUrl('redis://ada:se%3Acret@r');
  expect(target.username).toBe('ada');
  expect(target.password?.reveal()).toBe('se:cret');
  expect(parseRedisUrl('redis://:only@r').username).toBeUndefined();
  expect(JSON.stringify(target) + describeTarget(target)).not.toContain('cret');
});

it.for([
  ['redis://ada:p/w?x#y@z:1@r:1', 'ada', 'p/w?x#y@z:1'],
  ['redis://:p%2Fw%25@r', undefined, 'p/w%'],
  ['redis+sentinel://ada:p/w@a,b/main', 'ada', 'p/w'],
  ['redis://a%3Ab:c:d@[::1]:7/2', 'a:b', 'c:d'],
  ['redis://ada:p+w@r', 'ada', 'p+w'],
  ['redis://ada@r', 'ada', undefined],
] as const)('reads the user and the password in %s', ([url, user, password]) => {
  const target = parseRedisUrl(url);
  expect([target.username, target.password?.reveal()]).toEqual([user, password]);
});

it('A Redis URL has the user and password for Sentinels', () => {
  const url = 'redis+sentinel://:one@a/main/2?sentinel_user=eve&sentinel_password=t%26w+%3Do';
  const target = parseRedisUrl(url);
  expect(target).toMatchObject({ kind: 'sentinel', db: 2, sentinelUsername: 'eve' });
  const password = target.kind === 'sentinel' ? target.sentinelPassword?.reveal() : undefined;
  expect(password).toBe('t&w+=o');
  expect(JSON.stringify(target) + describeTarget(target)).not.toMatch(/one|t&w/);
});

it.for([
  ['http://:s3cret@r', 'none of the forms'],
  ['r:6379', 'none of the forms'],
  ['redis://', 'none of the forms'],
  ['redis://:s3cret@a,b', 'names one server'],
  ['redis://:s3cret@r/x', 'number of a database'],
  ['redis://:s3cret@r:99999', 'not host[:port]'],
  ['redis+sentinel://:s3cret@a', 'name of the master'],
  ['redis+cluster://:s3cret@a/1', 'one database'],
  ['redis://:s3cret', 'not host[:port]'],
  ['redis://ada:s3cret', 'not host[:port]'],
  ['redis://:s3cret/', 'not host[:port]'],
  ['redis://s3cret:a,b:1', 'not host[:port]'],
  ['redis://a b:s3cret', 'not host[:port]'],
  ['redis://:s3cret%@r', '%25'],
  ['redis://:%zzs3cret@r', '%25'],
  ['redis://s3cret%:x@r', '%25'],
  ['redis://r?family=s3cret', 'family in the Redis URL'],
  ['redis://r?s3cret=1', 'other fields than family'],
  ['redis://r?sentinel_password=s3cret', 'other fields than family'],
  ['redis+sentinel://r/m?sentinel_password=s3cret%', '%25'],
  ['redis://r/s3cret', 'number of a database'],
] as const)('refuses %s', ([url, sentence]) => {
  const refused = () => parseRedisUrl(url);
  expect(refused).toThrow(sentence);
  expect(refused).not.toThrow('s3cret');
});
