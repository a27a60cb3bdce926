import { describe, expect, it } from 'vitest';
import { addressGroup } from '../../../src/base/net/address-group.ts';
import { TrustedProxies } from '../../../src/base/server/trusted-proxies.ts';

describe('TrustedProxies', () => {
  const trusted = TrustedProxies.parse('10.0.0.0/8, fd00::/8,192.0.2.7');

  it.each([
    ['is the address of its connection', '203.0.113.1', undefined, '203.0.113.1'],
    [
      'is not an address that the client wrote itself',
      '203.0.113.1',
      '198.51.100.1',
      '203.0.113.1',
    ],
    ['is the address that a trusted proxy reports', '10.1.2.3', '198.51.100.1', '198.51.100.1'],
    [
      'is the address that a trusted proxy reports over a dual-stack listener',
      '::ffff:10.1.2.3',
      '198.51.100.1',
      '198.51.100.1',
    ],
    [
      'is the last reported address that is not a proxy',
      '10.1.2.3',
      '1.1.1.1, 198.51.100.1, fd00::1',
      '198.51.100.1',
    ],
    ['is the proxy when the proxy reports none', '10.1.2.3', undefined, '10.1.2.3'],
    ['is the proxy when all reported addresses are proxies', '192.0.2.7', '10.0.0.1', '192.0.2.7'],
    ['is the proxy when the header is malformed', '10.1.2.3', '1.1.1.1, nonsense', '10.1.2.3'],
  ])('The address of a client %s', (_, connected, forwardedFor, client) => {
    expect(trusted.clientAddress(connected, forwardedFor)).toBe(client);
  });

  it.each(['10.0.0.0/33', 'fd00::/129', 'proxy.example.com', '10.0.0.0/', '10.0.0/8'])(
    'TrustedProxies refuses %s',
    (text) => {
      expect(() => TrustedProxies.parse(text)).toThrow(text);
    },
  );

  it('TrustedProxies trusts no proxy when the list is empty', () => {
    expect(() => TrustedProxies.parse('')).not.toThrow();
    expect(TrustedProxies.parse('').clientAddress('10.1.2.3', '1.1.1.1')).toBe('10.1.2.3');
  });
});

it.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('Limits per address count %s as %s', (address, group) => {
  expect(addressGroup(address)).toBe(group);
});
