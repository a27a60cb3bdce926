import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { isInRange, parseIpAddress, parseIpRange } from '../../../src/base/net/ip-address.ts';

it.each([
  ['127.0.0.1', { family: 4, value: 0x7f00_0001n }],
  ['::', { family: 6, value: 0n }],
  ['::1', { family: 6, value: 1n }],
  ['0:0:0:0:0:0:0:1', { family: 6, value: 1n }],
  ['fe80::1%eth0', { family: 6, value: (0xfe80n << 112n) | 1n }],
  ['::ffff:127.0.0.1', { family: 4, value: 0x7f00_0001n }],
  ['0:0:0:0:0:FFFF:7f00:1', { family: 4, value: 0x7f00_0001n }],
  ['64:ff9b::127.0.0.1', { family: 6, value: (0x64_ff9bn << 96n) | 0x7f00_0001n }],
  ['127.1', undefined],
  ['example.com', undefined],
  ['', undefined],
])('parseIpAddress reads the address %s', (text, address) => {
  expect(parseIpAddress(text)).toEqual(address);
});

it.each([
  ['10.0.0.0/8', '10.255.0.1', true],
  ['10.0.0.0/8', '::ffff:10.0.0.1', true],
  ['10.0.0.0/8', '11.0.0.1', false],
  ['0.0.0.0/0', '203.0.113.1', true],
  ['0.0.0.0/0', '::1', false],
  ['::/0', 'fd00::1', true],
  ['::/0', '10.0.0.1', false],
  ['::/0', '::ffff:10.0.0.1', false],
  ['::ffff:10.0.0.0/104', '10.9.9.9', true],
  ['fd00::/64', 'fd00:0:0:1::', false],
  ['10.0.0.1/32', '10.0.0.1', true],
])('The address range %s contains %s: %s', (range, address, expected) => {
  expect(isInRange(parseIpAddress(address)!, parseIpRange(range)!)).toBe(expected);
});

it.each(['10.0.0.0', '10.0.0.0/33', '::/129', 'fe80::%eth0/64', 'x/8', '10/8'])(
  'parseIpRange refuses %s',
  (text) => {
    expect(parseIpRange(text)).toBeUndefined();
  },
);

it('parseIpAddress reads every spelling of an IPv6 address as the same address', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 }),
      (groups) => {
        const value = groups.reduce((sum, group) => (sum << 16n) | BigInt(group), 0n);
        const plain = groups.map((group) => group.toString(16)).join(':');
        const short = new URL(`http://[${plain}]`).hostname.slice(1, -1);
        const expected =
          value >> 32n === 0xffffn
            ? { family: 4, value: value & 0xffff_ffffn }
            : { family: 6, value };
        expect([parseIpAddress(plain), parseIpAddress(short)]).toEqual([expected, expected]);
      },
    ),
  );
});
