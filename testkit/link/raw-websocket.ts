import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export type Headers = Readonly<Record<string, string>>;

const opcodeBinary = 0x2;
const opcodeClose = 0x8;
const finalBit = 0x80;

/**
 * The text of a WebSocket handshake for culvert.v1; `headers` add to it or take its place, an empty
 * one takes it away.
 */
export function handshakeText(path: string, headers: Headers = {}): string {
  const all = {
    Host: 'broker.test',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
    'Sec-WebSocket-Protocol': 'culvert.v1',
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== '');
  return `GET ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}

/**
 * A connection to a broker, over TLS for wss:// with the CA in `caFile`; it is ready when TLS is.
 */
export async function connectTo(url: string, caFile: string): Promise<Socket> {
  const { protocol, hostname: host, port } = new URL(url);
  const address = { host, port: Number(port) };
  if (protocol === 'ws:') {
    const socket = connectTcp(address);
    await once(socket, 'connect');
    return socket;
  }
  const socket = connectTls({ ...address, ca: await readFile(caFile), servername: 'localhost' });
  await once(socket, 'secureConnect');
  return socket;
}

export interface RawFrame {
  /**
   * The frame's first byte: FIN, the reserved bits and the opcode (default: a whole binary
   * message).
   */
  readonly first?: number;
  readonly payload: Uint8Array;
  /** Default true, as RFC 6455 wants it of a client. */
  readonly masked?: boolean;
}

/** A client's frame of RFC 6455, or what looks like one. */
export function rawFrame({ first = finalBit | opcodeBinary, payload, masked = true }: RawFrame) {
  const { length } = payload;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  if (!masked) return Buffer.concat([head, payload]);
  head[1] |= 0x80;
  const key = randomBytes(4);
  return Buffer.concat([head, key, payload.map((byte, at) => byte ^ key[at & 3]!)]);
}

/** The first bytes that arrive. @throws Error the connection was closed before */
async function firstBytes(socket: Socket): Promise<Buffer> {
  const closed = new AbortController();
  const onClose = () => closed.abort(new Error('the connection was closed before an answer'));
  if (socket.destroyed) onClose();
  socket.once('close', onClose);
  try {
    const [bytes] = (await once(socket, 'data', { signal: closed.signal })) as [Buffer];
    return bytes;
  } catch (thrown) {
    throw closed.signal.aborted ? closed.signal.reason : thrown;
  } finally {
    socket.off('close', onClose);
  }
}

/** A WebSocket client that sends any bytes that a test needs. */
export class RawWebSocket implements Disposable {
  /** This end's address, which the broker sees as its peer. */
  readonly address: string;
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  readonly #firstMessage = Promise.withResolvers<Buffer>();
  readonly #closeReason = Promise.withResolvers<string>();

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.address = `${socket.localAddress}:${socket.localPort}`;
    // A failure reaches the code that waits for one of the promises.
    this.#firstMessage.promise.catch(() => {});
    this.#closeReason.promise.catch(() => {});
    socket.on('data', (bytes) => this.#onData(bytes));
    socket.on('error', () => {});
    socket.on('close', () => {
      const lost = new Error('the connection was closed without a close frame');
      this.#firstMessage.reject(lost);
      this.#closeReason.reject(lost);
    });
  }

  /** Does the handshake. @throws Error it was refused, or the connection was closed */
  static async open(socket: Socket, path: string, headers: Headers): Promise<RawWebSocket> {
    socket.write(handshakeText(path, headers));
    const answer = await firstBytes(socket);
    const head = answer.toString('latin1');
    if (!head.startsWith('HTTP/1.1 101 ') || !head.endsWith('\r\n\r\n')) {
      throw new Error(`the handshake was answered with ${head}`);
    }
    return new RawWebSocket(socket);
  }

  /**
   * Resolves with the reason in the close frame that the other end sends. @throws Error there was
   * none
   */
  get closeReason(): Promise<string> {
    return this.#closeReason.promise;
  }

  /** Resolves with the first message from the other end, a whole frame of culvert.v1. */
  get firstMessage(): Promise<Buffer> {
    return this.#firstMessage.promise;
  }

  send(...frames: readonly RawFrame[]): void {
    for (const frame of frames) this.#socket.write(rawFrame(frame));
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  /** A server's frames are not masked, and a broker's are never fragments. */
  #onData(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= 2) {
      const short = this.#received[1]! & 0x7f;
      if (short === 127) throw new Error('a broker sends no such long frames here');
      const head = short === 126 ? 4 : 2;
      if (this.#received.length < head) return;
      const end = head + (short === 126 ? this.#received.readUInt16BE(2) : short);
      if (this.#received.length < end) return;
      const opcode = this.#received[0]! & 0x0f;
      const payload = this.#received.subarray(head, end);
      this.#received = this.#received.subarray(end);
      if (opcode === opcodeBinary) this.#firstMessage.resolve(payload);
      // Two bytes of close code come before the reason.
      if (opcode === opcodeClose) this.#closeReason.resolve(payload.toString('utf8', 2));
    }
  }
}
