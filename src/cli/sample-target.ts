import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { sampleCertificate } from './sample-certificate.ts';

/**
 * A small server on loopback that plays a service in a cluster, and the cluster's kube-apiserver. It
 * speaks HTTP with and without TLS at the same port.
 */
export interface SampleTarget extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** The CA of its certificate, in PEM. */
  readonly ca: string;
}

/** The server's answer at `/`. */
export const sampleGreeting = 'Hello from the other side of the culvert.\n';

/** The first byte of a TLS record with a handshake. */
const tlsHandshake = 22;
const pieceBytes = 64 * 1024;
const maxBytes = 1024 ** 3;

/**
 * `GET /` greets, `GET /bytes/N` sends N bytes, `POST /` answers with the number of bytes it
 * received.
 */
export async function startSampleTarget(): Promise<SampleTarget> {
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    answer(request, response).catch((thrown: unknown) => response.destroy(thrown as Error));
  };
  const host = '127.0.0.1';
  const { ca, cert, key } = await sampleCertificate(host);
  const plain = createServer(onRequest);
  const secure = createTlsServer({ cert, key }, onRequest);
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null;
      // The client closed the connection without a byte.
      if (first === null) {
        socket.destroy();
        return;
      }
      socket.unshift(first);
      (first[0] === tlsHandshake ? secure : plain).emit('connection', socket);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, host, resolve);
  });
  return {
    host,
    port: (server.address() as AddressInfo).port,
    ca,
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
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
