import { describe, expect, it } from 'vitest';
import { parseAgentIdentifiers } from '../../src/konnectivity-agents/agent-identifiers.ts';

describe('The identifiers of an agent', () => {
  it.each([
    ['', [], false],
    ['host=a&host=b&ipv4=1.2.3.4&ipv6=::1', ['a', 'b', '1.2.3.4', '::1'], false],
    ['default-route=true', [], true],
    ['default-route=T&default-route=false', [], true],
    ['default-route=false&default-route=true', [], false],
    ['default-route=yes', [], false],
    ['cidr=10.0.0.0%2F8&uid=x&other=y&&', [], false],
    ['host=a%20b&h%6fst=c+d&host', ['a b', 'c d', ''], false],
  ])('The identifiers "%s" are the hosts %j, default route %s', (text, hosts, isDefaultRoute) => {
    const identifiers = parseAgentIdentifiers(text);
    expect([...identifiers.hosts]).toEqual(hosts);
    expect(identifiers.isDefaultRoute).toBe(isDefaultRoute);
  });

  it.each([
    ['host=a;b', 'invalid semicolon separator in query'],
    ['host=%zz', 'invalid URL escape "%zz"'],
    ['host=%4', 'invalid URL escape "%4"'],
    ['host=%ff', '"%ff" is not UTF-8'],
    [Array.from({ length: 1001 }, (_, at) => `host=${at}`).join('&'), 'more than 1000 identifiers'],
  ])('The identifiers "%s" are refused', (text, reason) => {
    expect(() => parseAgentIdentifiers(text)).toThrow(
      expect.objectContaining({
        code: 'invalid_metadata',
        message: `fail to parse url encoded string: ${reason}`,
      }),
    );
  });
});
