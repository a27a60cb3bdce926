import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodePacket } from '../../src/konnectivity/decode-packet.ts';
import { KonnectivityError } from '../../src/konnectivity/konnectivity-error.ts';
import {
  dataHeaderMaxBytes,
  encodeCloseRequest,
  encodeCloseResponse,
  encodeDialClose,
  encodeDialError,
  encodeDialRequest,
  encodeDialResponse,
  writeDataHeader,
} from '../../src/konnectivity/packet.ts';
import { bytesField, codec, response, varint, varintField } from '../konnectivity-bridge/wire.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const random63 = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });
const connectIds = fc.maxSafeNat();
const text = fc.string({ unit: 'binary', maxLength: 300 });

describe('encoding', () => {
  it('The packet encoder writes DIAL_RSP as the bytes that the Go server writes', () => {
    expect(encodeDialResponse(5n, 1)).toEqual(hex('00 00000008 0801 1a04 1001 1805'));
    expect(encodeDialResponse(128n, 128)).toEqual(hex('00 0000000a 0801 1a06 108001 188001'));
    expect(encodeDialError(5n, 'No')).toEqual(hex('00 0000000a 0801 1a06 0a024e6f 1805'));
  });

  it('The packet encoder writes CLOSE_RSP and leaves out an empty error', () => {
    expect(encodeCloseResponse(300, '')).toEqual(hex('00 00000007 0803 3203 10ac02'));
  });

  it('The packet encoder writes packets for an agent as the bytes that the Go server writes', () => {
    expect(encodeDialRequest('a:443', 7n)).toEqual(
      hex('00 00000010 12 0e 0a03746370 1205613a343433 1807'),
    );
    expect(encodeCloseRequest(300)).toEqual(hex('00 00000007 0802 2a03 08ac02'));
    expect(encodeDialClose(128n)).toEqual(hex('00 00000007 0805 3a03 088001'));
  });

  it('The packet encoder writes packets for an agent that the decoder reads back', () => {
    fc.assert(
      fc.property(random63, connectIds, text, (random, connectId, address) => {
        expect(decodePacket(encodeDialRequest(address, random).subarray(5))).toEqual({
          kind: 'dial_request',
          network: 'tcp',
          address,
          random,
        });
        expect(decodePacket(encodeCloseRequest(connectId).subarray(5))).toEqual({
          kind: 'close_request',
          connectId,
        });
        expect(decodePacket(encodeDialClose(random).subarray(5))).toEqual({
          kind: 'dial_close',
          random,
        });
      }),
    );
  });

  it('The packet encoder writes the header of DATA right in front of the payload', () => {
    const bytes = Buffer.alloc(dataHeaderMaxBytes + 3, 0xff);
    bytes.write('abc', dataHeaderMaxBytes);
    const start = writeDataHeader(bytes, dataHeaderMaxBytes, bytes.length, 2);
    expect(bytes.subarray(start)).toEqual(hex('00 0000000b 0804 2207 0802 1a03 616263'));
    expect(bytes.subarray(0, start).every((byte) => byte === 0xff)).toBe(true);
  });

  it('The packet encoder writes packets that protobufjs reads correctly, for any random, id and text', () => {
    fc.assert(
      fc.property(random63, connectIds, text, (random, connectId, error) => {
        expect(response(encodeDialResponse(random, connectId))).toMatchObject({
          type: 'DIAL_RSP',
          dialResponse: { error: '', connectID: String(connectId), random: String(random) },
        });
        expect(response(encodeDialError(random, error))).toMatchObject({
          dialResponse: { error, connectID: '0', random: String(random) },
        });
        expect(response(encodeCloseResponse(connectId, error))).toMatchObject({
          type: 'CLOSE_RSP',
          closeResponse: { error, connectID: String(connectId) },
        });
      }),
    );
  });

  it('The packet encoder frames a payload of any length so that protobufjs finds it', () => {
    fc.assert(
      fc.property(connectIds, fc.integer({ min: 1, max: 70_000 }), (connectId, length) => {
        const bytes = Buffer.alloc(dataHeaderMaxBytes + length, 7);
        const start = writeDataHeader(bytes, dataHeaderMaxBytes, bytes.length, connectId);
        const packet = response(bytes.subarray(start));
        if (packet.type !== 'DATA') throw new Error(packet.type);
        expect(packet.data.connectID).toBe(String(connectId));
        expect(packet.data.data.equals(Buffer.alloc(length, 7))).toBe(true);
      }),
    );
  });
});

describe('decoding', () => {
  it('The packet decoder reads an absent type as DIAL_REQ (trap 2)', () => {
    const packet = hex('12 0e 0a03746370 1205613a343433 1807');
    expect(decodePacket(packet)).toEqual({
      kind: 'dial_request',
      network: 'tcp',
      address: 'a:443',
      random: 7n,
    });
  });

  it('The packet decoder reads what protobufjs writes, with all 63 bits of random (trap 3)', () => {
    fc.assert(
      fc.property(random63, text, text, (random, protocol, address) => {
        const packet = codec.requestSerialize({
          type: 'DIAL_REQ',
          dialRequest: { protocol, address, random: String(random) },
        });
        expect(decodePacket(packet)).toEqual({
          kind: 'dial_request',
          network: protocol,
          address,
          random,
        });
        const close = { type: 'DIAL_CLS', closeDial: { random: String(random) } } as const;
        expect(decodePacket(codec.requestSerialize(close))).toEqual({ kind: 'dial_close', random });
      }),
    );
    fc.assert(
      fc.property(connectIds, fc.uint8Array({ maxLength: 500 }), (id, data) => {
        const connectID = String(id);
        expect(
          decodePacket(codec.requestSerialize({ type: 'DATA', data: { connectID, data } })),
        ).toEqual({ kind: 'data', connectId: id, payload: Buffer.from(data) });
        expect(
          decodePacket(codec.requestSerialize({ type: 'CLOSE_REQ', closeRequest: { connectID } })),
        ).toEqual({ kind: 'close_request', connectId: id });
      }),
    );
  });

  it('The packet decoder reads fields in any order, with unknown ones between them', () => {
    const unknown = [
      varintField(99, 2n ** 64n - 1n),
      bytesField(100, 'whatever'),
      Buffer.concat([varint(101 * 8 + 1), Buffer.alloc(8)]),
      Buffer.concat([varint(102 * 8 + 5), Buffer.alloc(4)]),
      // Known numbers with another wire type count as unknown too.
      bytesField(1, 'type'),
      varintField(4, 12),
    ];
    const inner = [
      varintField(1, 77),
      bytesField(3, 'payload'),
      bytesField(2, 'an error'),
      ...unknown.slice(0, 4),
    ];
    fc.assert(
      fc.property(
        fc.shuffledSubarray(inner, { minLength: inner.length }),
        fc.shuffledSubarray(unknown),
        fc.boolean(),
        (fields, around, typeFirst) => {
          const type = varintField(1, 4);
          const data = bytesField(4, Buffer.concat(fields));
          const packet = typeFirst ? [type, ...around, data] : [data, ...around, type];
          expect(decodePacket(Buffer.concat(packet))).toEqual({
            kind: 'data',
            connectId: 77,
            payload: Buffer.from('payload'),
          });
        },
      ),
    );
  });

  it('The packet decoder uses the last of several payloads and merges equal ones', () => {
    const dial = (fields: Buffer[]): Buffer => bytesField(2, Buffer.concat(fields));
    expect(
      decodePacket(Buffer.concat([dial([bytesField(1, 'tcp')]), dial([bytesField(2, 'a:1')])])),
    ).toMatchObject({ network: 'tcp', address: 'a:1' });
    expect(
      decodePacket(Buffer.concat([dial([bytesField(1, 'tcp')]), bytesField(4, varintField(1, 9))])),
    ).toEqual({ kind: 'dial_request', network: '', address: '', random: 0n });
    expect(
      decodePacket(Buffer.concat([bytesField(7, varintField(1, 9)), dial([bytesField(1, 'tcp')])])),
    ).toEqual({ kind: 'dial_request', network: 'tcp', address: '', random: 0n });
  });

  it("The packet decoder reads an agent's answers, with all 63 bits of random", () => {
    fc.assert(
      fc.property(random63, connectIds, text, (random, connectId, error) => {
        const dialed = encodeDialResponse(random, connectId).subarray(5);
        expect(decodePacket(dialed)).toEqual({
          kind: 'dial_response',
          error: '',
          connectId,
          random,
        });
        expect(decodePacket(encodeDialError(random, error).subarray(5))).toEqual({
          kind: 'dial_response',
          error,
          connectId: 0,
          random,
        });
        expect(decodePacket(encodeCloseResponse(connectId, error).subarray(5))).toEqual({
          kind: 'close_response',
          error,
          connectId,
        });
      }),
    );
    expect(decodePacket(hex('0806'))).toEqual({ kind: 'drain' });
    expect(decodePacket(hex('0806 4200'))).toEqual({ kind: 'drain' });
  });

  it('The packet decoder keeps types that it does not know apart', () => {
    for (const type of [7, 99]) {
      expect(decodePacket(varintField(1, type))).toEqual({ kind: 'other' });
    }
  });

  it.each([
    ['an endless varint', Buffer.alloc(20, 0xff)],
    ['a field that ends early', hex('12 05 0a')],
    ['a length beyond the packet', hex('12 7f 00')],
    ['a group', hex('0b 0c')],
    ['field number 0', hex('02 00')],
    ['a string that is not UTF-8', bytesField(2, bytesField(2, hex('ff')))],
    [
      'a connect id beyond 2^53',
      Buffer.concat([varintField(1, 2), bytesField(5, varintField(1, 2n ** 60n))]),
    ],
  ])('The packet decoder refuses %s with a typed error', (_, packet) => {
    expect(() => decodePacket(packet)).toThrow(
      expect.objectContaining({ name: 'KonnectivityError', code: 'malformed_packet' }),
    );
  });

  it('The packet decoder answers any bytes with a packet or a typed error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(outcomeOf(bytes)).toMatch(/^(packet|malformed_packet)$/);
      }),
      { numRuns: 20_000 },
    );
  });
});

function outcomeOf(bytes: Uint8Array): string {
  try {
    decodePacket(bytes);
    return 'packet';
  } catch (error) {
    return error instanceof KonnectivityError ? error.code : String(error);
  }
}
