import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { type Proxy, parseProxyUrl } from '../../src/base/net/proxy.ts';
import type { CertificateFiles } from '../world/certificates.ts';

/** An HTTP proxy on loopback that supports only CONNECT and requires `ann` and `pass word`. */
export interface ConnectProxy extends AsyncDisposable {
  /** With user and password. */
  readonly url: URL;
  /** The same, parsed. */
  readonly proxy: Proxy;
  /** The destinations of all CONNECT requests, including refused requests. */
  readonly asked: readonly (string | undefined)[];
  /** The User-Agent of each. */
  readonly userAgents: readonly (string | undefined)[];
  /** All header lines of each. */
  readonly heads: readonly string[];
  /** Aborts all tunnels. */
  breakOff(): void;
}

/** An address of this machine that proxy settings do not treat as loopback. */
export const notLoopback = '0.0.0.0';
/** The same with IPv6, as it is in a URL. */
export const notLoopback6 = '[::]';

const credentials = `Basic ${Buffer.from('ann:pass word').toString('base64')}`;

/** @param tls makes it an https:// proxy */
export async function startConnectProxy(tls?: CertificateFiles): Promise<ConnectProxy> {
  const asked: (string | undefined)[] = [];
  const userAgents: (string | undefined)[] = [];
  const heads: string[] = [];
  const sockets = new Set<Socket>();
  const server =
    tls === undefined
      ? createServer()
      : createTlsServer({ cert: await readFile(tls.cert), key: await readFile(tls.key) });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('connect', (request, socket, head) => {
    asked.push(request.url);
    userAgents.push(request.headers['user-agent']);
    heads.push(request.rawHeaders.join('\n'));
    socket.on('error', () => socket.destroy());
    if (request.headers['proxy-authorization'] !== credentials) {
      socket.end('HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    const { hostname, port } = new URL(`http://${request.url}`);
    const onward = connect(Number(port), hostname.replace(/^\[|\]$/g, ''), () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      onward.write(head);
      socket.pipe(onward).pipe(socket);
    });
    onward.on('error', () => socket.destroy());
    socket.on('close', () => onward.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const breakOff = () => {
    for (const socket of sockets) socket.destroy();
  };
  const { port } = server.address() as AddressInfo;
  const url = new URL(
    `${tls === undefined ? 'http' : 'https'}://ann:pass%20word@127.0.0.1:${port}`,
  );
  return {
    url,
    proxy: parseProxyUrl(url.href),
    asked,
    userAgents,
    heads,
    breakOff,
    async [Symbol.asyncDispose]() {
      breakOff();
      server.close();
      await once(server, 'close');
    },
  };
}
