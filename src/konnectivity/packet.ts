import { KonnectivityError } from './konnectivity-error.ts';
import {
  maxVarintBytes,
  ProtoReader,
  varintBytes,
  WireType,
  writeVarint,
  writeVarint64,
} from './protobuf.ts';

/**
 * The `type` of a konnectivity Packet. DIAL_REQ is the default of proto3: on the wire its field is
 * absent.
 */
export const PacketType = {
  dialRequest: 0,
  dialResponse: 1,
  closeRequest: 2,
  closeResponse: 3,
  data: 4,
  dialClose: 5,
  drain: 6,
} as const;

/**
 * A client's packet, decoded. `random` has all 64 bits, because a client drops its tunnel when one
 * bit is lost.
 */
export type ClientPacket =
  | {
      readonly kind: 'dial_request';
      readonly network: string;
      readonly address: string;
      readonly random: bigint;
    }
  | { readonly kind: 'data'; readonly connectId: number; readonly payload: Uint8Array }
  | { readonly kind: 'close_request'; readonly connectId: number }
  | { readonly kind: 'dial_close'; readonly random: bigint }
  /** A type that clients do not send, or of a later protocol. Ignored. */
  | { readonly kind: 'other' };

/** Numbers of the oneof's fields in Packet. They differ from the numbers of the types. */
const Field = {
  type: 1,
  dialRequest: 2,
  dialResponse: 3,
  data: 4,
  closeRequest: 5,
  closeResponse: 6,
  closeDial: 7,
} as const;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Decodes one whole packet. Fields may come in any order, and unknown fields are skipped. A payload
 * is a view into `bytes`.
 *
 * @throws KonnectivityError `malformed_packet`
 */
export function decodePacket(bytes: Uint8Array): ClientPacket {
  const reader = new ProtoReader(bytes);
  let type = 0;
  let payloadField = 0;
  let fields = new PayloadFields();
  while (reader.more) {
    const tag = reader.varint();
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number === Field.type && wireType === WireType.varint) {
      type = reader.varint();
    } else if (
      wireType === WireType.bytes &&
      number >= Field.dialRequest &&
      number <= Field.closeDial
    ) {
      // A oneof: the last member counts, and the same member twice is merged.
      if (number !== payloadField) fields = new PayloadFields();
      payloadField = number;
      fields.read(number, reader.bytes());
    } else {
      checkFieldNumber(number);
      reader.skip(wireType);
    }
  }
  return fields.toPacket(type, payloadField);
}

class PayloadFields {
  #network = '';
  #address = '';
  #random = 0n;
  #connectId = 0;
  #payload: Uint8Array = new Uint8Array(0);

  read(member: number, bytes: Uint8Array): void {
    const reader = new ProtoReader(bytes);
    while (reader.more) {
      const tag = reader.varint();
      if (!this.#readField(member, tag, reader)) {
        checkFieldNumber(Math.floor(tag / 8));
        reader.skip(tag % 8);
      }
    }
  }

  /**
   * A packet whose payload does not match its type has the defaults of its type, as in every
   * protobuf library.
   */
  toPacket(type: number, member: number): ClientPacket {
    const given = member === payloadFieldOf(type) ? this : new PayloadFields();
    switch (type) {
      case PacketType.dialRequest:
        return {
          kind: 'dial_request',
          network: given.#network,
          address: given.#address,
          random: given.#random,
        };
      case PacketType.data:
        return { kind: 'data', connectId: given.#connectId, payload: given.#payload };
      case PacketType.closeRequest:
        return { kind: 'close_request', connectId: given.#connectId };
      case PacketType.dialClose:
        return { kind: 'dial_close', random: given.#random };
      default:
        return { kind: 'other' };
    }
  }

  #readField(member: number, tag: number, reader: ProtoReader): boolean {
    const isVarint = tag % 8 === WireType.varint;
    const isBytes = tag % 8 === WireType.bytes;
    const number = Math.floor(tag / 8);
    if (member === Field.dialRequest) {
      if (isBytes && number === 1) this.#network = decodeText(reader.bytes());
      else if (isBytes && number === 2) this.#address = decodeText(reader.bytes());
      else if (isVarint && number === 3) this.#random = reader.varint64();
      else return false;
    } else if (member === Field.data) {
      if (isVarint && number === 1) this.#connectId = checkConnectId(reader.varint());
      else if (isBytes && number === 3) this.#payload = reader.bytes();
      else return false;
    } else if (member === Field.closeRequest) {
      if (isVarint && number === 1) this.#connectId = checkConnectId(reader.varint());
      else return false;
    } else if (member === Field.closeDial) {
      if (isVarint && number === 1) this.#random = reader.varint64();
      else return false;
    } else {
      return false;
    }
    return true;
  }
}

function payloadFieldOf(type: number): number {
  switch (type) {
    case PacketType.dialRequest:
      return Field.dialRequest;
    case PacketType.data:
      return Field.data;
    case PacketType.closeRequest:
      return Field.closeRequest;
    case PacketType.dialClose:
      return Field.closeDial;
    default:
      return 0;
  }
}

function checkFieldNumber(number: number): void {
  if (number === 0)
    throw new KonnectivityError('malformed_packet', 'a packet has a field with number 0');
}

/** The bridge assigns ids, so an id that a number cannot hold exactly was never assigned. */
export function checkConnectId(id: number): number {
  if (Number.isSafeInteger(id)) return id;
  throw new KonnectivityError(
    'malformed_packet',
    `connect id ${id} is larger than any assigned id`,
  );
}

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (error) {
    throw new KonnectivityError('malformed_packet', 'a string in a packet is not UTF-8', {
      cause: error,
    });
  }
}

/** gRPC's frame header before each packet: a compression flag and the length. */
export const grpcPrefixBytes = 5;

/** Room that `writeDataHeader` may take in front of a payload of up to 4 GiB. */
export const dataHeaderMaxBytes = grpcPrefixBytes + 2 + 1 + 6 + 1 + 8 + 1 + 5;

/**
 * Turns the payload `into[payloadStart, payloadEnd)` into a DATA packet: writes everything that
 * precedes it, with gRPC's prefix, so that the packet is one piece. Returns where the packet
 * starts.
 */
export function writeDataHeader(
  into: Uint8Array,
  payloadStart: number,
  payloadEnd: number,
  connectId: number,
): number {
  const payloadBytes = payloadEnd - payloadStart;
  const fieldsBytes = 1 + varintBytes(connectId) + 1 + varintBytes(payloadBytes);
  const messageBytes = 2 + 1 + varintBytes(fieldsBytes + payloadBytes) + fieldsBytes + payloadBytes;
  const start = payloadEnd - messageBytes - grpcPrefixBytes;
  let at = writeGrpcPrefix(into, start, messageBytes);
  into[at++] = (Field.type << 3) | WireType.varint;
  into[at++] = PacketType.data;
  into[at++] = (Field.data << 3) | WireType.bytes;
  at = writeVarint(into, at, fieldsBytes + payloadBytes);
  into[at++] = (1 << 3) | WireType.varint;
  at = writeVarint(into, at, connectId);
  into[at++] = (3 << 3) | WireType.bytes;
  writeVarint(into, at, payloadBytes);
  return start;
}

/** DIAL_RSP for a connection that is open, with gRPC's prefix. */
export function encodeDialResponse(random: bigint, connectId: number): Buffer {
  return encodeSmall(PacketType.dialResponse, Field.dialResponse, '', connectId, random);
}

/**
 * DIAL_RSP for a dial that failed, with gRPC's prefix. The client's DialContext returns exactly
 * `error`.
 */
export function encodeDialError(random: bigint, error: string): Buffer {
  return encodeSmall(PacketType.dialResponse, Field.dialResponse, error, 0, random);
}

/** CLOSE_RSP, with gRPC's prefix. An empty `error` means none. */
export function encodeCloseResponse(connectId: number, error: string): Buffer {
  return encodeSmall(PacketType.closeResponse, Field.closeResponse, error, connectId, 0n);
}

/**
 * Both answers have the same shape: error 1, connect id 2, and DIAL_RSP's random 3. Defaults are
 * left out.
 */
function encodeSmall(
  type: number,
  field: number,
  error: string,
  connectId: number,
  random: bigint,
): Buffer {
  const text = Buffer.from(error);
  const body = Buffer.allocUnsafe(text.length + 3 + 3 * maxVarintBytes);
  let bodyEnd = 0;
  if (text.length > 0) {
    body[bodyEnd++] = (1 << 3) | WireType.bytes;
    bodyEnd = writeVarint(body, bodyEnd, text.length);
    bodyEnd += text.copy(body, bodyEnd);
  }
  if (connectId !== 0) {
    body[bodyEnd++] = (2 << 3) | WireType.varint;
    bodyEnd = writeVarint(body, bodyEnd, connectId);
  }
  if (random !== 0n) {
    body[bodyEnd++] = (3 << 3) | WireType.varint;
    bodyEnd = writeVarint64(body, bodyEnd, random);
  }
  const messageBytes = 2 + 1 + varintBytes(bodyEnd) + bodyEnd;
  const packet = Buffer.allocUnsafe(grpcPrefixBytes + messageBytes);
  let at = writeGrpcPrefix(packet, 0, messageBytes);
  packet[at++] = (Field.type << 3) | WireType.varint;
  packet[at++] = type;
  packet[at++] = (field << 3) | WireType.bytes;
  at = writeVarint(packet, at, bodyEnd);
  body.copy(packet, at, 0, bodyEnd);
  return packet;
}

function writeGrpcPrefix(into: Uint8Array, at: number, messageBytes: number): number {
  into[at] = 0;
  into[at + 1] = messageBytes >>> 24;
  into[at + 2] = messageBytes >>> 16;
  into[at + 3] = messageBytes >>> 8;
  into[at + 4] = messageBytes;
  return at + grpcPrefixBytes;
}
