import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KonnectivityError } from '../../src/konnectivity/konnectivity-error.ts';
import type { Packet } from '../../src/konnectivity/packet.ts';
import {
  defaultPacketLimits,
  type PacketHandler,
  PacketParser,
} from '../../src/konnectivity/packet-parser.ts';
import { bytesField, grpcMessage, request, varintField } from '../konnectivity-bridge/wire.ts';

/**
 * Writes down what comes: payload pieces of one connection are joined, and borrowed bytes are
 * copied.
 */
class Recorder implements PacketHandler {
  readonly seen: (string | Packet)[] = [];
  pieces = 0;
  largestPiece = 0;
  #open = '';

  onPayload(connectId: number, bytes: Uint8Array): void {
    if (bytes.length === 0) throw new Error('an empty piece');
    this.pieces++;
    this.largestPiece = Math.max(this.largestPiece, bytes.length);
    const piece = Buffer.from(bytes).toString('latin1');
    if (this.#open === `${connectId}`) this.seen.push(`${this.seen.pop() as string}${piece}`);
    else this.seen.push(`${connectId}:${piece}`);
    this.#open = `${connectId}`;
  }

  onPacket(packet: Packet): void {
    this.#open = '';
    this.seen.push(packet);
  }
}

const dial = request({
  type: 'DIAL_REQ',
  dialRequest: { protocol: 'tcp', address: 'cluster1:443', random: '9223372036854775807' },
});
const data = (connectID: string, payload: string | Buffer): Buffer =>
  request({ type: 'DATA', data: { connectID, data: Buffer.from(payload) } });
const close = request({ type: 'CLOSE_REQ', closeRequest: { connectID: '7' } });

const conversation = Buffer.concat([
  dial,
  data('7', 'a'),
  close,
  data('7', 'x'.repeat(200)),
  close,
  data('0', 'nobody'),
  data('7', ''),
  request({ type: 'DIAL_CLS', closeDial: { random: '12' } }),
  // Fields in another order, and one more at the end: these cannot be cut through.
  grpcMessage(
    Buffer.concat([
      bytesField(4, Buffer.concat([bytesField(3, 'late id'), varintField(1, 8)])),
      varintField(1, 4),
    ]),
  ),
  grpcMessage(
    Buffer.concat([
      varintField(1, 4),
      bytesField(4, Buffer.concat([varintField(1, 9), bytesField(3, 'more follows')])),
      varintField(50, 1),
    ]),
  ),
  grpcMessage(Buffer.concat([bytesField(4, varintField(1, 9)), varintField(1, 4)])),
  grpcMessage(Buffer.alloc(0)),
  data('7', 'the end'),
]);
const meaning = [
  {
    kind: 'dial_request',
    network: 'tcp',
    address: 'cluster1:443',
    random: 9_223_372_036_854_775_807n,
  },
  '7:a',
  { kind: 'close_request', connectId: 7 },
  `7:${'x'.repeat(200)}`,
  { kind: 'close_request', connectId: 7 },
  '0:nobody',
  { kind: 'dial_close', random: 12n },
  '8:late id',
  '9:more follows',
  { kind: 'dial_request', network: '', address: '', random: 0n },
  '7:the end',
];

function parse(chunks: Iterable<Uint8Array>, limits = defaultPacketLimits): Recorder {
  const recorder = new Recorder();
  const parser = new PacketParser(recorder, undefined, limits);
  for (const chunk of chunks) parser.push(chunk);
  return recorder;
}

describe('PacketParser', () => {
  it('The packet parser finds the packets in one chunk', () => {
    expect(parse([conversation]).seen).toEqual(meaning);
  });

  it('The packet parser finds the same packets split at every offset, and byte by byte', () => {
    for (let at = 1; at < conversation.length; at++) {
      expect(parse([conversation.subarray(0, at), conversation.subarray(at)]).seen).toEqual(
        meaning,
      );
    }
    expect(parse([...conversation].map((byte) => Uint8Array.of(byte))).seen).toEqual(meaning);
  });

  it('The packet parser finds the same packets however they are split', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(conversation.length), { maxLength: 40 }), (cuts) => {
        const edges = [0, ...cuts.sort((a, b) => a - b), conversation.length];
        const chunks = edges.slice(1).map((end, i) => conversation.subarray(edges[i], end));
        expect(parse(chunks).seen).toEqual(meaning);
      }),
    );
  });

  it('The packet parser passes a large payload on as it arrives, in pieces that it does not keep', () => {
    const message = data('7', Buffer.alloc(5_000_000, 'p'));
    const recorder = new Recorder();
    const parser = new PacketParser(recorder);
    parser.push(message.subarray(0, 40_000));
    expect(recorder.pieces).toBe(1);
    for (let at = 40_000; at < message.length; at += 40_000) {
      parser.push(message.subarray(at, at + 40_000));
    }
    expect(recorder.largestPiece).toBeLessThanOrEqual(40_000);
    expect(recorder.seen).toEqual([`7:${'p'.repeat(5_000_000)}`]);
  });

  it.each([
    ['a compressed message', Buffer.from([1, 0, 0, 0, 1, 0]), 'compressed_packet'],
    [
      'a DATA of more than 64 MiB',
      Buffer.from([0, 4, 0, 0, 1, ...Buffer.alloc(40)]),
      'packet_too_large',
    ],
    [
      'a control packet of more than 64 KiB',
      Buffer.from([0, 0, 1, 0, 1, 8, 2, ...Buffer.alloc(40)]),
      'packet_too_large',
    ],
    [
      'a reordered DATA of more than 1 MiB',
      Buffer.from([0, 0, 16, 0, 1, 0x22, ...Buffer.alloc(40)]),
      'packet_too_large',
    ],
    ['a connect id beyond 2^53', data('1152921504606846976', 'x'), 'malformed_packet'],
    [
      'a control packet made to look like DATA',
      grpcMessage(
        Buffer.concat([bytesField(4, ''), bytesField(90, Buffer.alloc(70_000)), varintField(1, 2)]),
      ),
      'packet_too_large',
    ],
  ])('The packet parser refuses %s', (_, bytes, code) => {
    expect(() => parse([bytes])).toThrow(
      expect.objectContaining({ name: 'KonnectivityError', code }),
    );
  });

  it('The packet parser throws only typed errors for mutated and random bytes, and yields no more bytes than it got', () => {
    const mutations = fc.array(
      fc.record({ at: fc.nat(conversation.length - 1), byte: fc.nat(255) }),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(mutations, fc.nat(60), (changes, chunkSize) => {
        const bytes = Buffer.from(conversation);
        for (const { at, byte } of changes) bytes[at] = byte;
        expect(yieldedBytes(bytes, chunkSize + 1)).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 20_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(60), (bytes, chunkSize) => {
        expect(yieldedBytes(bytes, chunkSize + 1)).toBeLessThanOrEqual(bytes.length);
      }),
      { numRuns: 10_000 },
    );
  });
});

/** Payload bytes that came out before the end, or before a typed error; throws any other. */
function yieldedBytes(bytes: Uint8Array, chunkSize: number): number {
  let payloadBytes = 0;
  const parser = new PacketParser({
    onPayload: (_, piece) => (payloadBytes += piece.length),
    onPacket() {},
  });
  try {
    for (let at = 0; at < bytes.length; at += chunkSize) {
      parser.push(bytes.subarray(at, at + chunkSize));
    }
  } catch (error) {
    if (!(error instanceof KonnectivityError)) throw error;
  }
  return payloadBytes;
}

describe('a parser that is told to stop', () => {
  it('A stopped packet parser ignores all further bytes, even in the current piece', () => {
    let packets = 0;
    const parser = new PacketParser({
      onPayload: () => {},
      onPacket: () => {
        packets++;
        if (packets === 2) parser.stop();
      },
    });
    parser.push(Buffer.concat([close, close, close, Buffer.from('no packet at all')]));
    parser.push(close);
    expect(packets).toBe(2);
  });
});
