import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2';
import { connect as connectSocket, type Socket } from 'node:net';

/** A call made with node:http2 and literal bytes, for what grpc-js would not send. */
export class RawCall {
  readonly stream: ClientHttp2Stream;
  /** All of the response so far. */
  received = Buffer.alloc(0);
  readonly closed: Promise<number>;
  #wake: (() => void) | undefined;

  constructor(session: ClientHttp2Session, headers: Record<string, string> = {}) {
    this.stream = session.request({
      ':method': 'POST',
      ':path': '/ProxyService/Proxy',
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    });
    this.stream.on('data', (bytes: Buffer) => {
      this.received = Buffer.concat([this.received, bytes]);
      this.#wake?.();
    });
    // Is in rstCode as well.
    this.stream.on('error', () => {});
    this.closed = new Promise((resolve) => {
      this.stream.on('close', () => resolve(this.stream.rstCode ?? 0));
    });
  }

  async receive(bytes: number): Promise<Buffer> {
    while (this.received.length < bytes) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.received;
  }
}

/** An HTTP/2 connection to `host:port` or to a Unix socket: in the clear, or over `socket`. */
export function connectRaw(address: string, socket?: Socket): ClientHttp2Session & Disposable {
  const connection = () => socket ?? connectSocket(address);
  const session =
    socket !== undefined || address.startsWith('/')
      ? connect('http://localhost', { createConnection: connection })
      : connect(`http://${address}`);
  session.on('error', () => {});
  return Object.assign(session, { [Symbol.dispose]: () => session.destroy() });
}
