import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request as httpsRequest } from 'node:https';
import { createServer } from 'node:https';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { CertificateFiles } from '../world/certificates.ts';

export interface ServiceProxyOptions {
  readonly tls: CertificateFiles;
  /** The required Authorization header. It is removed before the request is passed on. */
  readonly token: string;
  /** `/api/v1/namespaces/NS/services/https:NAME:PORT/proxy`: everybody else gets 403. */
  readonly path: string;
  /** Where the Service is; its certificate is not looked at. */
  readonly upstreamPort: number;
}

export interface ServiceProxy extends AsyncDisposable {
  readonly port: number;
  /** Headers of requests that have passed. */
  readonly passed: readonly IncomingMessage['headers'][];
  /** Aborts all connections, as a restart does. */
  breakOff(): void;
  /** From now on another token is needed. */
  token: string;
}

/** Does with upgrades what a kube-apiserver's service proxy does with them. */
export async function startServiceProxy(options: ServiceProxyOptions): Promise<ServiceProxy> {
  const [cert, key] = await Promise.all([readFile(options.tls.cert), readFile(options.tls.key)]);
  const server = createServer({ cert, key, ALPNProtocols: ['http/1.1'] });
  const sockets = new Set<Duplex>();
  const passed: IncomingMessage['headers'][] = [];
  const state = { token: options.token };
  server.on('secureConnection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request, socket, head) => {
    const { authorization, ...headers } = request.headers;
    if (authorization !== `Bearer ${state.token}`) return refuse(socket, '401 Unauthorized');
    if (request.url?.startsWith(`${options.path}/`) !== true)
      return refuse(socket, '403 Forbidden');
    passed.push(headers);
    const upstream = httpsRequest({
      host: '127.0.0.1',
      port: options.upstreamPort,
      path: request.url.slice(options.path.length),
      headers: { ...headers, 'X-Forwarded-For': '127.0.0.1' },
      rejectUnauthorized: false,
    });
    upstream.on('upgrade', (answer, onward, onwardHead) => {
      socket.write(`HTTP/1.1 101 Switching Protocols\r\n${rawHeaders(answer)}\r\n`);
      socket.write(onwardHead);
      onward.write(head);
      onward.pipe(socket).pipe(onward);
      onward.on('error', () => socket.destroy()).on('close', () => socket.destroy());
      socket.on('close', () => onward.destroy());
    });
    upstream.on('response', (answer) => {
      socket.write(
        `HTTP/1.1 ${answer.statusCode} ${answer.statusMessage}\r\n${rawHeaders(answer)}\r\n`,
      );
      answer.pipe(socket);
    });
    upstream.on('error', () => refuse(socket, '503 Service Unavailable'));
    upstream.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const breakOff = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    passed,
    breakOff,
    get token() {
      return state.token;
    },
    set token(token: string) {
      state.token = token;
    },
    async [Symbol.asyncDispose]() {
      breakOff();
      server.close();
      await once(server, 'close');
    },
  };
}

function rawHeaders({ rawHeaders: raw }: IncomingMessage): string {
  let text = '';
  for (let at = 0; at < raw.length; at += 2) text += `${raw[at]}: ${raw[at + 1]}\r\n`;
  return text;
}

function refuse(socket: Duplex, status: string): void {
  const message = `services "x" is forbidden`;
  const body = JSON.stringify({ kind: 'Status', message });
  const head = `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n`;
  socket.end(`${head}\r\n${body}`);
}
