import type { TLSSocket } from 'node:tls';

// Frame types of HTTP/2 (RFC 9113, section 6).
const dataFrame = 0;
const headersFrame = 1;
const settingsFrame = 4;
const pingFrame = 6;
const ackFlag = 1;
const endStreamFlag = 1;
const endHeadersFlag = 4;
const prefaceBytes = 24;
const frameHeadBytes = 9;
const grpcPrefixBytes = 5;

/** `:status: 200` and `content-type: application/grpc` in HPACK. */
const responseFields = Buffer.from([0x88, 0x5f, 0x10, ...Buffer.from('application/grpc')]);
/** `grpc-status: 0` in HPACK. */
const trailerFields = Buffer.from([0x00, 0x0b, ...Buffer.from('grpc-status'), 0x01, 0x30]);
/** The connection's number is 1. */
const closeResponse = Buffer.from([0x08, 0x03, 0x32, 0x02, 0x10, 0x01]);

/**
 * Answers the dial of a Go konnectivity client, and its close, with bytes that are nearly fixed. It
 * reads only the frames and the dial's random number, so it is the least that such a client needs.
 */
export class FixedAnswers {
  readonly #client: TLSSocket;
  readonly #onDial: () => void;
  #pending: Buffer = Buffer.alloc(0);
  #skippedBytes = prefaceBytes;
  #random: Buffer | undefined;
  #streamId = 0;

  /** @param onDial the client has asked for a connection, which `opened` answers */
  constructor(client: TLSSocket, onDial: () => void) {
    this.#client = client;
    this.#onDial = onDial;
    client.write(frame(settingsFrame, 0, 0, Buffer.alloc(0)));
    client.on('data', (bytes) => this.#onData(bytes));
  }

  opened(): void {
    const random = this.#random!;
    const answer = Buffer.from([0x10, 0x01, 0x18, ...random]);
    this.#client.write(
      Buffer.concat([
        frame(headersFrame, endHeadersFlag, this.#streamId, responseFields),
        this.#message(Buffer.from([0x08, 0x01, 0x1a, answer.length, ...answer])),
      ]),
    );
  }

  #onData(bytes: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, bytes]);
    for (;;) {
      const pending = this.#pending.subarray(this.#skippedBytes);
      if (pending.length < frameHeadBytes) return;
      const end = frameHeadBytes + pending.readUIntBE(0, 3);
      if (pending.length < end) return;
      this.#skippedBytes = 0;
      this.#pending = pending.subarray(end);
      this.#onFrame(pending.subarray(0, end));
    }
  }

  #onFrame(bytes: Buffer): void {
    const [type, flags = 0, payload] = [bytes[3], bytes[4], bytes.subarray(frameHeadBytes)];
    if (type === settingsFrame && (flags & ackFlag) === 0) {
      this.#client.write(frame(settingsFrame, ackFlag, 0, Buffer.alloc(0)));
    } else if (type === pingFrame && (flags & ackFlag) === 0) {
      this.#client.write(frame(pingFrame, ackFlag, 0, payload));
    } else if (type === dataFrame && payload.length > grpcPrefixBytes) {
      this.#onMessage(bytes.readUInt32BE(5), payload.subarray(grpcPrefixBytes));
    }
  }

  /** The first message is the dial, and the second one is the close. */
  #onMessage(streamId: number, packet: Buffer): void {
    if (this.#random === undefined) {
      this.#streamId = streamId;
      this.#random = randomOf(packet);
      this.#onDial();
      return;
    }
    this.#client.write(
      Buffer.concat([
        this.#message(closeResponse),
        frame(headersFrame, endHeadersFlag | endStreamFlag, streamId, trailerFields),
      ]),
    );
  }

  #message(packet: Buffer): Buffer {
    const message = Buffer.concat([Buffer.from([0, 0, 0, 0, packet.length]), packet]);
    return frame(dataFrame, 0, this.#streamId, message);
  }
}

/** The number at the end of a DIAL_REQ, which holds protocol, address and random number. */
function randomOf(packet: Buffer): Buffer {
  const protocolEnd = 4 + packet[3]!;
  const addressEnd = protocolEnd + 2 + packet[protocolEnd + 1]!;
  return packet.subarray(addressEnd + 1);
}

function frame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(frameHeadBytes);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}
