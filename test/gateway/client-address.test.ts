import { expect, it } from 'vitest';
import type { RequestAuthenticator } from '../../src/access/request-authenticator.ts';
import { testGateway } from './test-gateway.ts';

it.each([
  ['an IPv4 client by its address', '203.0.113.1', false, '203.0.113.1'],
  ['an IPv6 client by its network', '2001:db8::1:2:3:4', false, '2001:db8:0:0::/64'],
  ['no client behind a trusted proxy', '203.0.113.1', true, undefined],
])('The reviews of tokens are limited for %s', async (_, address, isTrustedProxy, key) => {
  const keys: (string | undefined)[] = [];
  const authenticator: RequestAuthenticator = {
    async authenticate(credentials) {
      keys.push(credentials.address);
      return { kind: 'forward', subject: undefined };
    },
  };
  const { gateway } = testGateway({ authenticator });
  const client = { address, scheme: 'https', host: 'gateway', isTrustedProxy } as const;
  const request = { method: 'GET', target: '/c1/version', headers: [], client, hasBody: false };
  await gateway.admit(request, gateway.begin(request), new AbortController().signal);
  expect(keys).toEqual([key]);
});
