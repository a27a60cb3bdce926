import { expect, it } from 'vitest';
import { describeTarget, parseRedisUrl } from '../../src/broker/node/redis-target.ts';

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
] as const)('reads %s', ([url, target]) => {
  expect(parseRedisUrl(url)).toEqual(target);
});

it('reads a user and a password, and shows the password to nobody', () => {
  const target = parseRedisUrl('redis://ada:se%3Acret@r');
  expect(target.username).toBe('ada');
  expect(target.password?.reveal()).toBe('se:cret');
  expect(parseRedisUrl('redis://:only@r').username).toBeUndefined();
  expect(JSON.stringify(target) + describeTarget(target)).not.toContain('cret');
});

it.for([
  ['http://:s3cret@r', 'none of the forms'],
  ['r:6379', 'none of the forms'],
  ['redis://', 'none of the forms'],
  ['redis://:s3cret@a,b', 'names one server'],
  ['redis://:s3cret@r/x', 'number of a database'],
  ['redis://:s3cret@r:99999', 'expected host[:port]'],
  ['redis+sentinel://:s3cret@a', 'name of the master'],
  ['redis+cluster://:s3cret@a/1', 'one database'],
] as const)('refuses %s', ([url, sentence]) => {
  const refused = () => parseRedisUrl(url);
  expect(refused).toThrow(sentence);
  expect(refused).not.toThrow('s3cret');
});
