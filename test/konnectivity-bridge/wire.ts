import {
  ProxyService,
  type RequestPacket,
  type ResponsePacket,
} from '../../src/konnectivity-client/proxy-service.ts';

interface Codec {
  readonly path: string;
  requestSerialize(packet: RequestPacket): Buffer;
  responseDeserialize(bytes: Buffer): ResponsePacket;
}

/** protobufjs, as grpc-js uses it: the judge of our hand-written codec. */
export const codec = (ProxyService as unknown as { service: { Proxy: Codec } }).service.Proxy;

/** A packet as gRPC frames it. */
export function grpcMessage(packet: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(packet.length, 1);
  return Buffer.concat([prefix, packet]);
}

export function request(packet: RequestPacket): Buffer {
  return grpcMessage(codec.requestSerialize(packet));
}

/** Takes gRPC's prefix away and decodes what is left. */
export function response(bytes: Buffer): ResponsePacket {
  if (bytes[0] !== 0 || bytes.readUInt32BE(1) !== bytes.length - 5) throw new Error('bad prefix');
  return codec.responseDeserialize(bytes.subarray(5));
}

export function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Buffer.from([...bytes, Number(rest)]);
}

export function varintField(number: number, value: number | bigint): Buffer {
  return Buffer.concat([varint(number * 8), varint(value)]);
}

export function bytesField(number: number, value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}
