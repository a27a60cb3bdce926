import { maxVarintBytes, varintBytes, WireType, writeVarint, writeVarint64 } from './protobuf.ts';

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
  | { readonly kind: 'dial_close'; readonly random: bigint };

/** A packet that an agent sends and a client does not. An empty `error` means none. */
export type AgentPacket =
  | {
      readonly kind: 'dial_response';
      readonly error: string;
      readonly connectId: number;
      readonly random: bigint;
    }
  | { readonly kind: 'close_response'; readonly error: string; readonly connectId: number }
  /** The agent shuts down and wants no more dials. */
  | { readonly kind: 'drain' };

/** Any packet. `other` is a type of a later protocol, which is ignored. */
export type Packet = ClientPacket | AgentPacket | { readonly kind: 'other' };

/** Numbers of the oneof's fields in Packet. They differ from the numbers of the types. */
export const PacketField = {
  type: 1,
  dialRequest: 2,
  dialResponse: 3,
  data: 4,
  closeRequest: 5,
  closeResponse: 6,
  closeDial: 7,
  drain: 8,
} as const;

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
  into[at++] = (PacketField.type << 3) | WireType.varint;
  into[at++] = PacketType.data;
  into[at++] = (PacketField.data << 3) | WireType.bytes;
  at = writeVarint(into, at, fieldsBytes + payloadBytes);
  into[at++] = (1 << 3) | WireType.varint;
  at = writeVarint(into, at, connectId);
  into[at++] = (3 << 3) | WireType.bytes;
  writeVarint(into, at, payloadBytes);
  return start;
}

/** DIAL_RSP for a connection that is open, with gRPC's prefix. */
export function encodeDialResponse(random: bigint, connectId: number): Buffer {
  return encodeSmall(PacketType.dialResponse, PacketField.dialResponse, '', connectId, random);
}

/**
 * DIAL_RSP for a dial that failed, with gRPC's prefix. The client's DialContext returns exactly
 * `error`.
 */
export function encodeDialError(random: bigint, error: string): Buffer {
  return encodeSmall(PacketType.dialResponse, PacketField.dialResponse, error, 0, random);
}

/** CLOSE_RSP, with gRPC's prefix. An empty `error` means none. */
export function encodeCloseResponse(connectId: number, error: string): Buffer {
  return encodeSmall(PacketType.closeResponse, PacketField.closeResponse, error, connectId, 0n);
}

/** DIAL_REQ for an agent, with gRPC's prefix. */
export function encodeDialRequest(address: string, random: bigint): Buffer {
  const protocol = Buffer.from('tcp');
  const text = Buffer.from(address);
  const body = Buffer.allocUnsafe(protocol.length + text.length + 3 + 3 * maxVarintBytes);
  let end = writeText(body, 0, 1, protocol);
  end = writeText(body, end, 2, text);
  body[end++] = (3 << 3) | WireType.varint;
  end = writeVarint64(body, end, random);
  // The type of DIAL_REQ is the default, which is not written.
  return wrap(undefined, PacketField.dialRequest, body.subarray(0, end));
}

/** CLOSE_REQ, with gRPC's prefix. */
export function encodeCloseRequest(connectId: number): Buffer {
  return encodeNumber(PacketType.closeRequest, PacketField.closeRequest, BigInt(connectId));
}

/** DIAL_CLS, with gRPC's prefix: the dial with this random is cancelled. */
export function encodeDialClose(random: bigint): Buffer {
  return encodeNumber(PacketType.dialClose, PacketField.closeDial, random);
}

function encodeNumber(type: number, field: number, value: bigint): Buffer {
  const body = Buffer.allocUnsafe(1 + maxVarintBytes);
  body[0] = (1 << 3) | WireType.varint;
  return wrap(type, field, body.subarray(0, writeVarint64(body, 1, value)));
}

function writeText(into: Uint8Array, at: number, field: number, text: Buffer): number {
  into[at++] = (field << 3) | WireType.bytes;
  at = writeVarint(into, at, text.length);
  return at + text.copy(into, at);
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
  let end = text.length > 0 ? writeText(body, 0, 1, text) : 0;
  if (connectId !== 0) {
    body[end++] = (2 << 3) | WireType.varint;
    end = writeVarint(body, end, connectId);
  }
  if (random !== 0n) {
    body[end++] = (3 << 3) | WireType.varint;
    end = writeVarint64(body, end, random);
  }
  return wrap(type, field, body.subarray(0, end));
}

/** A packet of one member, with gRPC's prefix. */
function wrap(type: number | undefined, field: number, body: Buffer): Buffer {
  const typeBytes = type === undefined ? 0 : 2;
  const messageBytes = typeBytes + 1 + varintBytes(body.length) + body.length;
  const packet = Buffer.allocUnsafe(grpcPrefixBytes + messageBytes);
  let at = writeGrpcPrefix(packet, 0, messageBytes);
  if (type !== undefined) {
    packet[at++] = (PacketField.type << 3) | WireType.varint;
    packet[at++] = type;
  }
  packet[at++] = (field << 3) | WireType.bytes;
  at = writeVarint(packet, at, body.length);
  body.copy(packet, at);
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
