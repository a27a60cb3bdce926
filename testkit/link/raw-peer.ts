import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { encodeFrame, frameHeaderBytes, FrameType, readU32 } from '../../src/tunnel/frame.ts';
import { decodeWelcome, encodeMessage } from '../../src/tunnel/message.ts';
import { connectTo, handshakeText, rawFrame } from './raw-websocket.ts';
import type { TestTokens } from '../world/world.ts';

/** A peer that takes nothing for this long is not written to any further, in milliseconds. */
const stuckMs = 10_000;

const batchFrames = 5_000;
const maxBatchBytes = 1024 * 1024;

const binaryOpcode = 0x2;
const closeOpcode = 0x8;
const pingOpcode = 0x9;

export interface ReceivedFrame {
  readonly type: FrameType;
  readonly session: number;
  readonly stream: number;
  readonly payload: Buffer;
}

/** A broker, and the issuer of credentials for it. */
export interface AttackedBroker {
  readonly brokerUrl: string;
  readonly tokens: TestTokens;
  /** For wss:// URLs. */
  readonly certificates?: { readonly server: { readonly ca: string } };
}

/**
 * A link to a real broker on which a test may send anything, in any amount, with or without reading
 * the answers.
 */
export class RawPeer implements Disposable {
  /** The agent that a dialer's session reached. */
  agent = '';
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  readonly #frames: ReceivedFrame[] = [];
  #wake: (() => void)[] = [];
  #closeReason: string | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#onData(bytes));
    socket.on('error', () => {});
    socket.on('close', () => this.#wakeAll());
  }

  /**
   * Connects with a credential. An agent's role is its cluster, a dialer's the cluster that it
   * wants.
   */
  static async open(
    { brokerUrl, tokens, certificates }: AttackedBroker,
    role: 'agent' | 'dialer',
    cluster: string,
  ): Promise<RawPeer> {
    const isAgent = role === 'agent';
    const token = await tokens.issue(
      isAgent ? { kind: 'agent', cluster } : { kind: 'dialer', name: 'hostile' },
    );
    const socket = await connectTo(brokerUrl, certificates?.server.ca ?? '');
    const path = isAgent ? '/v1/agent' : `/v1/clusters/${cluster}/session`;
    const names = isAgent ? { 'Culvert-Cluster': cluster, 'Culvert-Agent': 'one' } : {};
    socket.write(handshakeText(path, { Authorization: `Bearer ${token}`, ...names }));
    const [answer] = (await once(socket, 'data')) as [Buffer];
    if (!answer.toString('latin1').startsWith('HTTP/1.1 101 ')) {
      throw new Error(`the handshake was answered with ${answer.toString('latin1')}`);
    }
    return new RawPeer(socket);
  }

  /** Says HELLO and waits for WELCOME, whose session number it returns. */
  async hello(fields: object = {}): Promise<number> {
    const session = crypto.randomUUID().replaceAll('-', '');
    const hello = { major: 1, minor: 0, software: 'hostile', session, ...fields };
    this.send(encodeFrame(FrameType.hello, 0, 0, encodeMessage(hello)));
    const welcome = decodeWelcome((await this.next(FrameType.welcome)).payload);
    this.agent = welcome.agent;
    return welcome.session;
  }

  send(...frames: readonly Uint8Array[]): void {
    for (const payload of frames) this.#socket.write(rawFrame({ payload }));
  }

  /** The frame of this type that comes next. @throws Error the link is closed before */
  async next(type: FrameType): Promise<ReceivedFrame> {
    for (;;) {
      const at = this.#frames.findIndex((frame) => frame.type === type);
      if (at >= 0) return this.#frames.splice(at, 1)[0]!;
      if (this.#socket.destroyed) throw new Error(`closed with ${this.#closeReason}`);
      await this.#change();
    }
  }

  /** Resolves with the reason in the other end's close frame, or with "lost" if there is none. */
  async closed(): Promise<string> {
    while (this.#closeReason === undefined && !this.#socket.destroyed) await this.#change();
    return this.#closeReason ?? 'lost';
  }

  get isOpen(): boolean {
    return this.#closeReason === undefined && !this.#socket.destroyed;
  }

  /** Reads nothing from now on, so that answers pile up wherever they can. */
  stopReading(): void {
    this.#socket.pause();
  }

  readOn(): void {
    this.#socket.resume();
  }

  /**
   * Sends so many frames, made by `frame` from their number, as fast as the other end takes them.
   * Ends early when it closes the connection, or takes nothing for a few seconds. Resolves with how
   * many it took.
   */
  async flood(count: number, frame: (at: number) => Uint8Array): Promise<number> {
    for (let sent = 0; sent < count; sent += batchFrames) {
      const length = Math.min(batchFrames, count - sent);
      const frames = Array.from({ length }, (_, at) => maskedFrame(frame(sent + at), binaryOpcode));
      if (!(await this.#write(Buffer.concat(frames)))) return sent;
    }
    return count;
  }

  /** The same with one frame again and again, which is faster. */
  async floodSame(count: number, frame: Uint8Array): Promise<number> {
    return await this.#repeat(count, maskedFrame(frame, binaryOpcode));
  }

  /** The same with pings of RFC 6455, of the largest size. */
  async floodPings(count: number): Promise<number> {
    return await this.#repeat(count, maskedFrame(new Uint8Array(125), pingOpcode));
  }

  /** How many frames of this type have come and were not taken with `next`. */
  waiting(type: FrameType): number {
    return this.#frames.filter((frame) => frame.type === type).length;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  async #repeat(count: number, frame: Buffer): Promise<number> {
    const frames = Math.max(1, Math.min(batchFrames, Math.floor(maxBatchBytes / frame.length)));
    const batch = Buffer.concat(Array<Buffer>(frames).fill(frame));
    for (let sent = 0; sent < count; sent += frames) {
      if (!(await this.#write(batch))) return sent;
    }
    return count;
  }

  /** False: the other end has closed the connection, or takes nothing any more. */
  async #write(bytes: Buffer): Promise<boolean> {
    if (this.#socket.destroyed) return false;
    if (this.#socket.write(bytes)) return true;
    const over = new AbortController();
    const { signal } = over;
    try {
      return await Promise.race([
        once(this.#socket, 'drain', { signal }).then(() => true),
        once(this.#socket, 'close', { signal }).then(() => false),
        sleep(stuckMs, false, { ref: false, signal }),
      ]);
    } catch {
      return false;
    } finally {
      over.abort();
    }
  }

  async #change(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake.push(resolve);
    await promise;
  }

  #wakeAll(): void {
    for (const resolve of this.#wake.splice(0)) resolve();
  }

  /** Frames of a server are not masked, and a broker's are never fragments. */
  #onData(bytes: Buffer): void {
    this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    let at = 0;
    for (;;) {
      const left = this.#received.length - at;
      if (left < 2) break;
      const short = this.#received[at + 1]! & 0x7f;
      const head = short === 126 ? 4 : short === 127 ? 10 : 2;
      if (left < head) break;
      const length =
        short === 126
          ? this.#received.readUInt16BE(at + 2)
          : short === 127
            ? Number(this.#received.readBigUInt64BE(at + 2))
            : short;
      if (left < head + length) break;
      this.#onMessage(
        this.#received[at]! & 0x0f,
        this.#received.subarray(at + head, at + head + length),
      );
      at += head + length;
    }
    this.#received = this.#received.subarray(at);
    this.#wakeAll();
  }

  #onMessage(opcode: number, message: Buffer): void {
    // Two bytes of close code come before the reason.
    if (opcode === closeOpcode) this.#closeReason = message.toString('utf8', 2);
    if (opcode !== binaryOpcode) return;
    const type = message[0] as FrameType;
    const [session, stream] = [readU32(message, 4), readU32(message, 8)];
    const payload = Buffer.from(message.subarray(frameHeaderBytes));
    this.#frames.push({ type, session, stream, payload });
  }
}

/** A client's frame with a key of zeros, which masks nothing and costs nothing. */
function maskedFrame(payload: Uint8Array, opcode: number): Buffer {
  const { length } = payload;
  const head = Buffer.alloc((length < 126 ? 2 : 4) + 4);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (length < 126 ? length : 126);
  if (length >= 126) head.writeUInt16BE(length, 2);
  return Buffer.concat([head, payload]);
}
