import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { afterAll } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { connectWebSocket } from '../../src/websocket/connect.ts';
import { culvertProtocol } from '../../src/websocket/handshake-key.ts';
import { describeMortalLink } from '../contracts/link.contract.ts';
import { certificates, linkServer, listen, serverCa, serverTls } from './servers.ts';
import { WsLibraryLink } from './ws-library-link.ts';

afterAll(() => certificates[Symbol.asyncDispose]());

for (const scheme of ['ws', 'wss'] as const) {
  describeMortalLink(`our client and our server, ${scheme}`, async () => {
    const server = await linkServer(scheme);
    const left = await connectWebSocket({ url: server.url, ca: serverCa });
    const right = await server.accepted();
    return {
      left,
      right,
      vanish: () => server.sockets[0]!.resetAndDestroy(),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  });

  describeMortalLink(`our client and the server of ws, ${scheme}`, async () => {
    const http = scheme === 'wss' ? createTlsServer(serverTls) : createServer();
    const listening = await listen(http);
    const library = new WebSocketServer({
      server: http,
      perMessageDeflate: false,
      maxPayload: 2 * 1024 * 1024,
      handleProtocols: () => culvertProtocol,
    });
    const accepted = new Promise<WebSocket>((resolve) => library.once('connection', resolve));
    const url = new URL(`${scheme}://localhost:${listening.port}/`);
    const left = await connectWebSocket({ url, ca: serverCa });
    const socket = await accepted;
    return {
      left,
      right: new WsLibraryLink(socket),
      vanish: () => socket.terminate(),
      [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
    };
  });

  describeMortalLink(`the client of ws and our server, ${scheme}`, async () => {
    const server = await linkServer(scheme);
    const socket = new WebSocket(server.url, culvertProtocol, {
      ca: serverCa,
      perMessageDeflate: false,
      maxPayload: 2 * 1024 * 1024,
    });
    const right = new WsLibraryLink(socket);
    await new Promise((resolve) => socket.once('open', resolve));
    return {
      left: await server.accepted(),
      right,
      vanish: () => socket.terminate(),
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  });
}
