import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import type { ServerRoute } from '../../src/base/net/server-route.ts';
import { rejectUpgrade } from '../../src/websocket/accept.ts';
import { WebSocketConnector } from '../../src/websocket/websocket-connector.ts';
import { linkConnectorContract } from '../contracts/link-connector.contract.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { certificates, linkServer, listen, serverCa } from './servers.ts';

afterAll(() => certificates[Symbol.asyncDispose]());

/** A server that answers every upgrade with 401. */
async function refusing(headers: Record<string, string>, body: string) {
  const server = createServer();
  server.on('upgrade', (_, socket) => rejectUpgrade(socket, 401, headers, body));
  const listening = await listen(server);
  return { ...listening, route: { url: new URL(`ws://localhost:${listening.port}/`) } };
}

async function silent() {
  const listening = await listen(createTcpServer());
  return { ...listening, route: { url: new URL(`ws://localhost:${listening.port}/`) } };
}

describe.each(['ws', 'wss'] as const)('WebSocketConnector over %s', (scheme) => {
  linkConnectorContract<ServerRoute>(async () => {
    const opened = new AsyncDisposableStack();
    const server = opened.use(await linkServer(scheme));
    const json = { 'Content-Type': 'application/json' };
    const answer = JSON.stringify({ code: 'unauthorized', message: 'no token' });
    const refused = opened.use(await refusing(json, answer));
    const page = '<html><title>Blocked</title></html>';
    const blocked = opened.use(await refusing({ 'Content-Type': 'text/html' }, page));
    const unanswered = opened.use(await silent());
    return {
      connector: new WebSocketConnector(),
      route: { url: server.url, ca: serverCa },
      silent: unanswered.route,
      refusing: refused.route,
      blocked: blocked.route,
      accepted: () => server.accepted(),
      [Symbol.asyncDispose]: () => opened.disposeAsync(),
    };
  });
});

describe('WebSocketConnector', () => {
  it('The connector applies its own time limit to every attempt', async () => {
    await using server = await silent();
    const clock = new VirtualClock();
    const connector = new WebSocketConnector({ timeoutMs: 700, clock });
    const connecting = connector
      .connect(server.route, new AbortController().signal)
      .catch((thrown: unknown) => thrown);
    await clock.advance(700);
    expect(await connecting).toMatchObject({ code: 'timeout' });
  });
});
