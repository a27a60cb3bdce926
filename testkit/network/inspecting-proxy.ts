import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import type { CertificateFiles } from '../world/certificates.ts';

/**
 * An HTTP proxy that ends TLS with a certificate of its own and reads what goes through, as in
 * companies that inspect TLS.
 */
export class InspectingProxy implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** The first line of each request that it has read inside TLS. */
  readonly read: string[] = [];

  private constructor(server: Server) {
    this.#server = server;
  }

  /**
   * @param shown its certificate, in the name of whatever is connected to @param upstreamCa PEM of
   * what it trusts itself
   */
  static async start(shown: CertificateFiles, upstreamCa: string): Promise<InspectingProxy> {
    const secureContext = createSecureContext({
      cert: await readFile(shown.cert),
      key: await readFile(shown.key),
    });
    const proxy = new InspectingProxy(createServer());
    proxy.#server.on('connect', (request, socket: Socket) => {
      const [host = '', port = ''] = (request.url ?? '').split(':');
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
      const inside = new TLSSocket(socket, { isServer: true, secureContext });
      const upstream = connect({
        ...{ host, port: Number(port), ca: upstreamCa },
        checkServerIdentity: () => undefined,
      });
      inside.once('data', (data: Buffer) => {
        proxy.read.push(data.toString('latin1').split('\r\n', 1)[0]!);
      });
      const end = () => {
        inside.destroy();
        upstream.destroy();
      };
      for (const one of [inside, upstream]) {
        proxy.#sockets.add(one);
        one.on('error', end).on('close', end);
      }
      inside.pipe(upstream).pipe(inside);
    });
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}
