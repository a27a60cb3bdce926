import type { Socket } from 'node:net';
import { SocketSender, type SenderOwner } from '../../src/base/net/socket-sender.ts';
import {
  ackFlag,
  closeResponse,
  dataFrame,
  dataHeadBytes,
  dialResponse,
  endHeadersFlag,
  endStreamFlag,
  firstWindowBytes,
  frame,
  frameHeadBytes,
  headersFrame,
  maxFrameBytes,
  pingFrame,
  randomOf,
  responseFields,
  settingsFrame,
  trailerFields,
  windowUpdateFrame,
  writeDataHead,
  writeFrameHead,
} from './grpc-frames.ts';
import { GrpcReader, type GrpcReaderOwner } from './grpc-reader.ts';
import { readInto } from './pipe-sockets.ts';

/** The window of the client's stream, which culvert gives a busy call. */
const windowBytes = 2 * 1024 * 1024;
/** A packet and its heads fill two TLS records. */
const maxPacketBytes = 32 * 1024 - 64;
/** The heads of a packet of that size in three frames. */
const maxHeadBytes = dataHeadBytes + 3 * frameHeadBytes;
const settingBytes = 6;
const initialWindowSetting = 4;
/** The number of the first stream of a client. */
const callId = 1;
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
  #initialWindow = firstWindowBytes;
  #streamWindow = firstWindowBytes;
  #connectionWindow = firstWindowBytes;
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
    settings.writeUInt16BE(initialWindowSetting, 0);
    settings.writeUInt32BE(windowBytes, 2);
    this.#write(frame(settingsFrame, 0, 0, settings));
    this.#write(frame(windowUpdateFrame, 0, 0, uint32(2 ** 30)));
    const reader = new GrpcReader(this);
    readInto(socket, (bytes) => {
      reader.read(bytes);
      return this.#isReading;
    });
  }

  opened(): void {
    this.#write(frame(headersFrame, endHeadersFlag, callId, responseFields));
    this.#write(this.#messageOf(dialResponse(this.#random!)));
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
      const window = Math.min(this.#streamWindow, this.#connectionWindow) - dataHeadBytes;
      const count = Math.min(end - at, maxPacketBytes, window);
      // A window that is nearly full is not worth a packet.
      if (count < Math.min(end - at, 4096)) break;
      this.#sendPacket(bytes, at, at + count);
      at += count;
    }
    if (at > start) this.#sender.written();
    return at;
  }

  #sendPacket(bytes: Uint8Array, start: number, end: number): void {
    const { output } = this.#sender;
    const messageBytes = dataHeadBytes + end - start;
    this.#streamWindow -= messageBytes;
    this.#connectionWindow -= messageBytes;
    let at = start;
    let left = messageBytes;
    while (left > 0) {
      const length = Math.min(left, maxFrameBytes);
      const headBytes = frameHeadBytes + (at === start ? dataHeadBytes : 0);
      const position = output.reserve(maxHeadBytes);
      const streamId = callId;
      writeFrameHead(output.slabBytes, position, { type: dataFrame, flags: 0, streamId, length });
      if (at === start) writeDataHead(output.slabBytes, position + frameHeadBytes, end - start);
      output.fill(headBytes);
      const pieceEnd = at + length - (headBytes - frameHeadBytes);
      output.copy(bytes, at, pieceEnd);
      at = pieceEnd;
      left -= length;
    }
  }

  onDataFrame(streamId: number, bytes: number): void {
    this.#readBytes += bytes;
    if (this.#readBytes < windowBytes / 2) return;
    this.#write(frame(windowUpdateFrame, 0, streamId, uint32(this.#readBytes)));
    this.#write(frame(windowUpdateFrame, 0, 0, uint32(this.#readBytes)));
    this.#readBytes = 0;
  }

  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void {
    if (type === windowUpdateFrame) {
      if (streamId === 0) this.#connectionWindow += payload.readUInt32BE(0);
      else this.#streamWindow += payload.readUInt32BE(0);
      this.#sendRest();
    } else if ((flags & ackFlag) === 0) {
      if (type === settingsFrame) this.#onSettings(payload);
      this.#write(frame(type, ackFlag, 0, type === pingFrame ? payload : payload.subarray(0, 0)));
    }
  }

  onPacket(packet: Buffer): void {
    // A dial leaves the first field out, which is the type.
    if (packet[0] !== 0x08) {
      this.#random = randomOf(packet);
      this.#owner.onDial();
      return;
    }
    this.#write(this.#messageOf(closeResponse));
    this.#write(frame(headersFrame, endHeadersFlag | endStreamFlag, callId, trailerFields));
  }

  onPayload(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#owner.onPayload(bytes, start, end)) this.#isReading = false;
  }

  #onSettings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += settingBytes) {
      if (payload.readUInt16BE(at) !== initialWindowSetting) continue;
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

  #messageOf(packet: Uint8Array): Buffer {
    const message = Buffer.concat([Buffer.from([0, 0, 0, 0, packet.length]), packet]);
    this.#streamWindow -= message.length;
    this.#connectionWindow -= message.length;
    return frame(dataFrame, 0, callId, message);
  }

  #write(bytes: Uint8Array): void {
    this.#sender.output.copy(bytes, 0, bytes.length);
    this.#sender.planTurn();
  }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
