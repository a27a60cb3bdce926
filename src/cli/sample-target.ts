import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/** A small HTTP server on loopback that plays a service in a cluster. */
export interface SampleTarget extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
}

/** The server's answer at `/`. */
export const sampleGreeting = 'Hello from the other side of the culvert.\n';

const pieceBytes = 64 * 1024;
const maxBytes = 1024 ** 3;

/**
 * `GET /` greets, `GET /bytes/N` sends N bytes, `POST /` answers with the number of bytes it
 * received.
 */
export async function startSampleTarget(): Promise<SampleTarget> {
  const server = createServer((request, response) => {
    answer(request, response).catch((thrown: unknown) => response.destroy(thrown as Error));
  });
  const host = '127.0.0.1';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, host, resolve);
  });
  return {
    host,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const bytes = /^\/bytes\/(\d{1,10})$/.exec(request.url ?? '')?.[1];
  if (request.method === 'POST') {
    let received = 0;
    for await (const piece of request) received += (piece as Uint8Array).length;
    response.end(`${received}\n`);
  } else if (bytes !== undefined && Number(bytes) <= maxBytes) {
    response.setHeader('content-length', bytes);
    await pipeline(Readable.from(pieces(Number(bytes))), response);
  } else if (request.url === '/') {
    response.setHeader('content-type', 'text/plain').end(sampleGreeting);
  } else {
    response.writeHead(404).end('Try /, or /bytes/1000000\n');
  }
}

function* pieces(total: number): Generator<Uint8Array> {
  const piece = new Uint8Array(pieceBytes).fill(0x2e);
  for (let left = total; left > 0; left -= pieceBytes) yield piece.subarray(0, left);
}
