import { describe, expect, it } from 'vitest';
import { allowed, type Authorizer } from '../../src/access/authorizer.ts';
import type { Grant } from '../../src/access/live-grants.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { serveRequest } from '../../src/gateway/edge/serve-request.ts';
import type { HttpExchangeHandler } from '../../src/http-exchange/http-exchange.ts';
import type { RequestGrants } from '../../src/gateway/request-record.ts';
import { type TestGatewayOptions, testGateway } from '../gateway/test-gateway.ts';

const client = { address: '203.0.113.1', scheme: 'https', host: 'broker', isTrustedProxy: false };

/** Requests to a Worker's gateway. `answered` gets what an agent would call. */
function startGateway(
  options: TestGatewayOptions,
  answered: (handler: HttpExchangeHandler) => void = () => {},
) {
  const { gateway, limits, audited } = testGateway(options);
  /** Why each exchange has been reset; undefined: it is open. */
  const exchanges: (string | undefined)[] = [];
  const leaving = new AbortController();
  const fetchAnswer = async (path: string, headers: Readonly<Record<string, string>>) => {
    const url = `https://broker/c1${path}`;
    const request = new Request(url, { headers, signal: leaving.signal });
    const context = {
      ...{ gateway, log: silentLogger, ownField: 'own', isKnownCluster: () => true },
      open(_options: unknown, handler: HttpExchangeHandler) {
        queueMicrotask(() => answered(handler));
        const at = exchanges.push(undefined) - 1;
        return {
          write: () => true,
          end() {},
          consumed() {},
          reset: ({ code }: { readonly code: string }) => void (exchanges[at] ??= code),
        };
      },
      acceptWebSocket(): never {
        throw new Error('no server has answered');
      },
    };
    return await serveRequest(context, request, { ...client, scheme: 'https' });
  };
  const serve = async (path: string, headers: Readonly<Record<string, string>>) => {
    const response = await fetchAnswer(path, headers);
    return { status: response.status, body: (await response.json()) as { message: string } };
  };
  return { fetchAnswer, serve, leaving, exchanges, limits, audited };
}

describe.each([
  ['a watch', '/api/v1/pods?watch=true', {}],
  ['a WebSocket', '/api/v1/namespaces/n/pods/p/exec', { Upgrade: 'websocket' }],
] as const)('A client of the Worker that asks for %s', (_what, path, headers) => {
  it('A client that leaves while its rights are decided reaches no server and frees its place', async () => {
    const authorizer: Authorizer = {
      async authorize() {
        leaving.abort();
        return allowed;
      },
    };
    const { serve, leaving, exchanges, limits, audited } = startGateway({ authorizer });
    await serve(path, headers);
    expect(exchanges).toEqual([]);
    expect(limits.longRunning).toBe(0);
    expect(audited).toMatchObject([{ code: 0, failure: undefined, isComplete: false }]);
  });

  it('A client that loses its rights while its request is admitted gets 403 and reaches no server', async () => {
    const grants: RequestGrants = {
      add: (grant: Grant) => queueMicrotask(() => grant.end('the rules have changed', 'denied')),
      remove() {},
    };
    const { serve, exchanges, limits } = startGateway({ grants });
    const { status, body } = await serve(path, headers);
    expect([status, body.message]).toEqual([
      403,
      expect.stringContaining('the rules have changed'),
    ]);
    expect(exchanges).toEqual([]);
    expect(limits.longRunning).toBe(0);
  });
});

it('A slow client of the Worker gets in one piece what its server sends a byte at a time', async () => {
  const { fetchAnswer } = startGateway({}, (handler) => {
    handler.onHead({ status: 200, headers: [] });
    for (let sent = 0; sent < 1000; sent++) handler.onData(Buffer.from('a'));
    handler.onEnd();
  });
  const { body } = await fetchAnswer('/api/v1/pods', {});
  const pieces = await Array.fromAsync(body!);
  expect(pieces.map(({ length }) => length)).toEqual([1000]);
});
