import type { Socket } from 'node:net';
import { SocketSender, type SenderOwner } from '../../src/base/net/socket-sender.ts';
import { defaultWindowBytes, FrameFlag, FrameType, Setting } from '../../src/http2/frame.ts';
import { dataHeaderMaxBytes, encodeCloseResponse } from '../../src/konnectivity/packet.ts';
import {
  callId,
  connectId,
  dialResponse,
  randomOf,
  responseFields,
  trailerFields,
  writeDataPacket,
  writeFrame,
  writeWindowUpdate,
} from './grpc-frames.ts';
import { GrpcReader, type GrpcReaderOwner } from './grpc-reader.ts';
import { readInto } from './pipe-sockets.ts';

/** The window of the client's stream, which culvert gives a busy call. */
const windowBytes = 2 * 1024 * 1024;
/** A packet and its heads fill two TLS records. */
const maxPacketBytes = 32 * 1024 - 64;
const settingBytes = 6;
/** Bytes that wait for a window: those of a read, and what Node had read before. */
const restBytes = 512 * 1024;

export interface BareGrpcOwner {
  /** The client asks for a connection, which `opened` answers. */
  onDial(): void;
  /** `bytes[start..end)` for the target; they are borrowed. False: read no more until `resume`. */
  onPayload(bytes: Uint8Array, start: number, end: number): boolean;
  /** There is room again after `send` returned false. */
  onRoom(): void;
}

/**
 * The server's end of a Go konnectivity client with one connection: the least that such a client
 * needs.
 */
export class BareGrpc implements SenderOwner, GrpcReaderOwner {
  readonly canPull = true;
  readonly #socket: Socket;
  readonly #owner: BareGrpcOwner;
  readonly #sender: SocketSender;

  #isReading = true;

  #random: Uint8Array | undefined;
  #readBytes = 0;
  #initialWindow = defaultWindowBytes;
  #streamWindow = defaultWindowBytes;
  #connectionWindow = defaultWindowBytes;
  /** Bytes that wait for a window. */
  readonly #rest = new Uint8Array(restBytes);
  #restStart = 0;
  #restEnd = 0;

  constructor(socket: Socket, owner: BareGrpcOwner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#sender = new SocketSender(socket, this);
    socket.on('close', () => this.#sender.destroy());
    const settings = Buffer.alloc(settingBytes);
    settings.writeUInt16BE(Setting.initialWindowSize, 0);
    settings.writeUInt32BE(windowBytes, 2);
    const { output } = this.#sender;
    writeFrame(output, FrameType.settings, 0, 0, settings);
    writeWindowUpdate(output, 0, 2 ** 30);
    this.#sender.planTurn();
    const reader = new GrpcReader(this);
    readInto(socket, (bytes) => {
      reader.read(bytes);
      return this.#isReading;
    });
  }

  opened(): void {
    this.#write(FrameType.headers, FrameFlag.endHeaders, callId, responseFields);
    this.#writeMessage(dialResponse(this.#random!));
  }

  /** Sends borrowed bytes to the client. @returns false: wait for `onRoom` */
  send(bytes: Uint8Array): boolean {
    const isFirst = this.#restStart === this.#restEnd;
    const sent = isFirst ? this.#sendPackets(bytes, 0, bytes.length) : 0;
    if (isFirst) this.#restStart = this.#restEnd = 0;
    this.#rest.set(bytes.subarray(sent), this.#restEnd);
    this.#restEnd += bytes.length - sent;
    return this.#hasRoom;
  }

  /** There is room after `onPayload` returned false. */
  resume(): void {
    this.#isReading = true;
    this.#socket.resume();
  }

  pull(): void {
    if (this.#hasRoom) this.#owner.onRoom();
  }

  onDrained(): void {}

  get #hasRoom(): boolean {
    return this.#restStart === this.#restEnd && this.#sender.room > 0;
  }

  /** @returns the end of what the windows allowed */
  #sendPackets(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const window = Math.min(this.#streamWindow, this.#connectionWindow) - dataHeaderMaxBytes;
      const count = Math.min(end - at, maxPacketBytes, window);
      // A window that is nearly full is not worth a packet.
      if (count < Math.min(end - at, 4096)) break;
      const messageBytes = writeDataPacket(this.#sender.output, bytes, at, at + count);
      this.#streamWindow -= messageBytes;
      this.#connectionWindow -= messageBytes;
      at += count;
    }
    if (at > start) this.#sender.written();
    return at;
  }

  onDataFrame(streamId: number, bytes: number): void {
    this.#readBytes += bytes;
    if (this.#readBytes < windowBytes / 2) return;
    writeWindowUpdate(this.#sender.output, streamId, this.#readBytes);
    writeWindowUpdate(this.#sender.output, 0, this.#readBytes);
    this.#sender.planTurn();
    this.#readBytes = 0;
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (type === FrameType.windowUpdate) {
      if (streamId === 0) this.#connectionWindow += payload.readUInt32BE(0);
      else this.#streamWindow += payload.readUInt32BE(0);
      this.#sendRest();
    } else if ((flags & FrameFlag.ack) === 0) {
      if (type === FrameType.settings) this.#onSettings(payload);
      this.#write(type, FrameFlag.ack, 0, type === FrameType.ping ? payload : undefined);
    }
  }

  onPacket(packet: Buffer): void {
    // A dial leaves the first field out, which is the type.
    if (packet[0] !== 0x08) {
      this.#random = randomOf(packet);
      this.#owner.onDial();
      return;
    }
    this.#writeMessage(encodeCloseResponse(connectId, ''));
    const flags = FrameFlag.endHeaders | FrameFlag.endStream;
    this.#write(FrameType.headers, flags, callId, trailerFields);
  }

  onPayload(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#owner.onPayload(bytes, start, end)) this.#isReading = false;
  }

  #onSettings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += settingBytes) {
      if (payload.readUInt16BE(at) !== Setting.initialWindowSize) continue;
      const initial = payload.readUInt32BE(at + 2);
      this.#streamWindow += initial - this.#initialWindow;
      this.#initialWindow = initial;
    }
    this.#sendRest();
  }

  #sendRest(): void {
    if (this.#restStart === this.#restEnd) return;
    this.#restStart = this.#sendPackets(this.#rest, this.#restStart, this.#restEnd);
    this.pull();
  }

  #writeMessage(message: Uint8Array): void {
    this.#streamWindow -= message.length;
    this.#connectionWindow -= message.length;
    this.#write(FrameType.data, 0, callId, message);
  }

  #write(type: number, flags: number, streamId: number, payload?: Uint8Array): void {
    writeFrame(this.#sender.output, type, flags, streamId, payload);
    this.#sender.planTurn();
  }
}
