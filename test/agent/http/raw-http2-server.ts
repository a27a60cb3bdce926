import type { Server } from 'node:net';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { encodeHeaders } from '../../../src/http2/hpack-encoder.ts';
import {
  clientPreface,
  frame,
  frameFlags,
  FrameSplitter,
  frameTypes,
  headers,
  settings,
  settingsAck,
} from '../../../testkit/http2/frames.ts';

/** A connection as a server sees it that answers with literal bytes. */
export class RawConnection {
  readonly socket: TLSSocket;
  /** The streams of its requests. */
  readonly streams: number[] = [];
  /** The lengths of their heads. */
  readonly headLengths: number[] = [];
  /** The types of all frames that the client has sent. */
  readonly types: number[] = [];
  /** The bytes that the client has granted to each stream beyond the first window; 0: to all. */
  readonly grantedBytes = new Map<number, number>();

  constructor(socket: TLSSocket) {
    this.socket = socket;
  }

  send(...frames: readonly Uint8Array[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(frames));
  }

  /** Sends the head of a response, and more of it. */
  answer(stream: number, text = '', fields: readonly (readonly [string, string])[] = []): void {
    this.send(head(stream, [[':status', '200'], ...fields]), data(stream, text));
  }
}

export function head(
  stream: number,
  fields: readonly (readonly [string, string])[],
  flags: number = frameFlags.endHeaders,
): Buffer {
  return headers(stream, encodeHeaders(fields.map(([name, value]) => ({ name, value }))), flags);
}

export function data(stream: number, text: string | Buffer, flags = 0): Buffer {
  return frame(frameTypes.data, flags, stream, Buffer.from(text as string, 'latin1'));
}

/** What a raw server does. A test changes it. */
export class RawBehaviour {
  protocols: string[] = ['h2', 'http/1.1'];
  settings: readonly (readonly [id: number, value: number])[] = [];
  /** PINGs and SETTINGS are answered. */
  isAnswering = true;
  /** A connection that the client has ended is closed. */
  isClosing = true;
  onConnection: (connection: RawConnection) => void = (connection) => {
    connection.send(settings(this.settings));
  };
  /** Gets each request. `count` is its number at this server, from 1. */
  onRequest: (connection: RawConnection, stream: number, count: number) => void = () => {};
  /** Gets the connections of HTTP/1.1. */
  onHttp1: (socket: TLSSocket) => void = () => {};
}

/** A kube-apiserver of HTTP/2 whose every byte a test decides. */
export class RawHttp2Server {
  behaviour = new RawBehaviour();
  connections: RawConnection[] = [];
  #count = 0;

  /** Cuts all connections. Everything begins again. */
  reset(): RawBehaviour {
    for (const { socket } of this.connections) socket.destroy();
    this.connections = [];
    this.#count = 0;
    return (this.behaviour = new RawBehaviour());
  }

  make(certificate: { readonly key: Buffer; readonly cert: Buffer }): Server {
    const options = {
      ...certificate,
      allowHalfOpen: true,
      ALPNCallback: ({ protocols }: { readonly protocols: readonly string[] }) =>
        this.behaviour.protocols.find((protocol) => protocols.includes(protocol)),
    };
    return createTlsServer(options, (socket) => {
      socket.on('error', () => {});
      socket.on('end', () => this.behaviour.isClosing && socket.end());
      if (socket.alpnProtocol === 'h2') this.#accept(socket);
      else this.behaviour.onHttp1(socket);
    });
  }

  #accept(socket: TLSSocket): void {
    const connection = new RawConnection(socket);
    this.connections.push(connection);
    const splitter = new FrameSplitter();
    let skippedBytes = 0;
    const { behaviour } = this;
    behaviour.onConnection(connection);
    socket.on('data', (bytes: Buffer) => {
      const skip = Math.min(bytes.length, clientPreface.length - skippedBytes);
      skippedBytes += skip;
      for (const { type, flags, stream, payload } of splitter.push(bytes.subarray(skip))) {
        const isAck = (flags & frameFlags.ack) !== 0;
        connection.types.push(type);
        if (type === frameTypes.settings && !isAck && behaviour.isAnswering) {
          connection.send(settingsAck);
        }
        if (type === frameTypes.ping && !isAck && behaviour.isAnswering) {
          connection.send(frame(frameTypes.ping, frameFlags.ack, 0, payload));
        }
        if (type === frameTypes.windowUpdate) {
          const before = connection.grantedBytes.get(stream) ?? 0;
          connection.grantedBytes.set(stream, before + payload.readUInt32BE());
        }
        if (type !== frameTypes.headers) continue;
        connection.streams.push(stream);
        connection.headLengths.push(payload.length);
        behaviour.onRequest(connection, stream, ++this.#count);
      }
    });
  }
}
