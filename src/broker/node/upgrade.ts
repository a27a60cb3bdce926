import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Hono } from 'hono';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/logger.ts';
import type { AttachableLink } from '../../tunnel/link.ts';
import { acceptWebSocket, rejectUpgrade } from '../../websocket/accept.ts';
import type { RequestRuntime } from '../app.ts';
import { peerOf } from './peer.ts';

/**
 * Brings upgrade requests to the app, whose answer decides: a Response of Node cannot be a 101, so the app calls `upgrade` and
 * this half does the handshake afterwards.
 */
export function serveUpgrades(
  server: Server,
  app: Hono<{ Bindings: RequestRuntime }>,
  log: Logger,
): void {
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', destroySocket);
    handleUpgrade(app, request, socket, head).catch((thrown: unknown) => {
      log.error('upgrade failed', { why: describeError(thrown) });
      socket.destroy();
    });
  });
}

async function handleUpgrade(
  app: Hono<{ Bindings: RequestRuntime }>,
  message: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(message.headers)) {
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value);
  }
  // Only the path counts; the authority is whatever an ingress made of it.
  const url = URL.parse(message.url ?? '/', 'http://broker');
  if (url === null) return rejectUpgrade(socket, 400, {}, 'the request target is malformed');
  const request = new Request(url, { headers });
  let admitted: ((link: AttachableLink) => void) | undefined;
  let answered: Readonly<Record<string, string>> = {};
  const response = await app.fetch(request, {
    peer: peerOf(socket),
    upgrade(admit, added = {}) {
      admitted = admit;
      answered = added;
      return new Response(null, { status: 204 });
    },
  });
  if (admitted === undefined) {
    const answer = Object.fromEntries(response.headers);
    return rejectUpgrade(socket, response.status, answer, await response.text());
  }
  const link = acceptWebSocket(message, socket, head, { headers: answered });
  if (link === undefined) return;
  socket.off('error', destroySocket);
  admitted(link);
}

function destroySocket(this: Duplex): void {
  this.destroy();
}
