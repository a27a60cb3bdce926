import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, type AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import type { CertificateFiles } from '../world/certificates.ts';

const headEnd = '\r\n\r\n';

/** A request to an ingress. */
export interface IngressVisit {
  /** The Host header. */
  readonly host: string;
  /** The server name in the TLS handshake, if any. */
  readonly serverName: string | undefined;
}

export interface Ingress extends AsyncDisposable {
  readonly port: number;
  readonly visits: readonly IngressVisit[];
}

/**
 * Ends TLS on a loopback port and passes requests for `host` to `upstreamPort`; for any other Host
 * it answers 404.
 */
export async function startIngress(options: {
  readonly tls: CertificateFiles;
  readonly host: string;
  readonly upstreamPort: number;
}): Promise<Ingress> {
  const { tls, host, upstreamPort } = options;
  const visits: IngressVisit[] = [];
  const open = new Set<TLSSocket>();
  const [cert, key] = await Promise.all([readFile(tls.cert), readFile(tls.key)]);
  const server = createServer({ cert, key }, (socket) => {
    open.add(socket);
    let head = '';
    const onData = (bytes: Buffer) => {
      head += bytes.toString('latin1');
      if (!head.includes(headEnd)) return;
      socket.off('data', onData);
      const asked = /^host: *(.*)\r$/im.exec(head)?.[1] ?? '';
      visits.push({ host: asked, serverName: serverNameOf(socket) });
      if (asked === host) pass(socket, head, upstreamPort);
      else socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
    };
    socket.on('data', onData);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    visits,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function pass(socket: TLSSocket, head: string, upstreamPort: number): void {
  const upstream = connect(upstreamPort, '127.0.0.1');
  upstream.write(head, 'latin1');
  upstream.pipe(socket).pipe(upstream);
  upstream.on('error', () => socket.destroy()).on('close', () => socket.destroy());
  socket.on('close', () => upstream.destroy());
}

/** The server name in the client's handshake, which Node's types omit. */
function serverNameOf(socket: TLSSocket): string | undefined {
  return (socket as { readonly servername?: string | false }).servername || undefined;
}
