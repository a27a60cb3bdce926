import type { Http2Server } from 'node:http2';
import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';

const sentence =
  'This socket speaks gRPC over HTTP/2, not HTTP CONNECT. Set "proxyProtocol: GRPC" in the egress selector configuration.';

const refusal = [
  'HTTP/1.1 501 Not Implemented',
  'Content-Type: text/plain',
  `Content-Length: ${sentence.length + 1}`,
  'Connection: close',
  '',
  `${sentence}\n`,
].join('\r\n');

/** Tells an HTTP/1.1 client, such as a kube-apiserver with `proxyProtocol: HTTPConnect`, what is spoken here, and hangs up. */
export function refuseHttp1(socket: Socket): void {
  socket.on('error', () => {});
  socket.end(refusal, () => socket.destroy());
}

export interface InterceptOptions {
  readonly clock: Clock;
  /** A connection must say something within this, in milliseconds. */
  readonly timeoutMs: number;
  /** Gets a connection whose client sends a request of HTTP/1. */
  readonly onHttp1: (socket: Socket) => void;
}

/**
 * Looks at the first bytes of each connection before the HTTP/2 server does. The server alone would answer an HTTP/1 client with frames that
 * it cannot read.
 */
export function interceptHttp1(server: Http2Server, options: InterceptOptions): void {
  const { clock, timeoutMs, onHttp1 } = options;
  const [takeOver] = server.listeners('connection') as ((socket: Socket) => void)[];
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const timer = clock.setTimer(timeoutMs, () => socket.destroy());
    socket.on('error', destroySocket).once('close', () => timer.cancel());
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null;
      // It ended before it said anything.
      if (first === null) return socket.destroy();
      timer.cancel();
      const text = first.toString('latin1', 0, 16);
      // The preface of HTTP/2 (RFC 9113, section 3.4) begins with the method PRI, which HTTP/1 does not have.
      if (/^[A-Z]{3}/.test(text) && !text.startsWith('PRI')) return onHttp1(socket);
      socket.off('error', destroySocket);
      socket.unshift(first);
      takeOver!.call(server, socket);
    });
  });
}

function destroySocket(this: Socket): void {
  this.destroy();
}
