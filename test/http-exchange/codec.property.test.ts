import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeRequestHead,
  decodeResponseHead,
  decodeTrailers,
  encodeRequestHead,
  encodeResponseHead,
  encodeTrailers,
} from '../../src/http-exchange/head-codec.ts';
import type { HttpRequestHead } from '../../src/http-exchange/http-exchange.ts';
import { RecordReader } from '../../src/http-exchange/record-reader.ts';
import { recordHeaderBytes } from '../../src/http-exchange/record.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';

const token = fc.stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/);
const value = fc.stringMatching(/^([!-~\u0080-\u00ff]([ -~\t\u0080-\u00ff]{0,80}[!-~])?)?$/);
const headers = fc.array(fc.tuple(token, value), { maxLength: 12 });
const path = fc.stringMatching(/^\/[!"$-~\u0080-\u00ff]{0,40}$/);

/** Records as a list, and as the bytes of a stream. */
const records = fc.array(
  fc.record({
    type: fc.constantFrom(1, 2, 3, 4),
    payload: fc.uint8Array({ minLength: 1, maxLength: 70 }),
  }),
  { maxLength: 8 },
);

function joined(of: readonly { type: number; payload: Uint8Array }[]): Uint8Array {
  const length = (bytes: Uint8Array): number[] => [0, bytes.length >>> 8, bytes.length & 0xff];
  return Uint8Array.from(of.flatMap(({ type, payload }) => [type, ...length(payload), ...payload]));
}

/** What a reader makes of these pieces. Pieces of the same body are joined. */
function read(pieces: readonly Uint8Array[]): { events: string[]; otherBytes: number } {
  const events: string[] = [];
  let body: number[] = [];
  const endBody = (): void => {
    if (body.length > 0) events.push(`body ${body.join()}`);
    body = [];
  };
  let otherBytes = 0;
  const reader = new RecordReader({
    onRecord(type, payload) {
      endBody();
      events.push(`${type} ${payload.join()}`);
    },
    onBody: (bytes) => void body.push(...bytes),
  });
  for (const piece of pieces) otherBytes += reader.push(piece);
  endBody();
  return { events, otherBytes };
}

function decodedOrRefused(bytes: Uint8Array): HttpRequestHead | undefined {
  try {
    return decodeRequestHead(bytes);
  } catch (thrown) {
    if (thrown instanceof TunnelError && thrown.code === 'protocol_error') return undefined;
    throw thrown;
  }
}

describe('The codec of HTTP exchanges', () => {
  it('A request head is decoded to the head that was encoded', () => {
    fc.assert(
      fc.property(token, path, headers, (method, target, fields) => {
        const head = { method, path: target, headers: fields };
        expect(decodeRequestHead(encodeRequestHead(head))).toEqual(head);
      }),
    );
  });

  it('A response head and trailers are decoded to what was encoded', () => {
    fc.assert(
      fc.property(fc.integer({ min: 100, max: 999 }), headers, (status, fields) => {
        const head = { status, headers: fields };
        expect(decodeResponseHead(encodeResponseHead(head))).toEqual(head);
        expect(decodeTrailers(encodeTrailers(fields))).toEqual(fields);
      }),
    );
  });

  it.each([10, 4_000, 4_090, 5_000, 60_000])('A head with %i bytes is decoded', (bytes) => {
    const head = { status: 200, headers: [['a', 'b'.repeat(bytes)] as const] };
    expect(decodeResponseHead(encodeResponseHead(head))).toEqual(head);
  });

  it('A value of bytes that would be UTF-8 is decoded to a character for each byte', () => {
    const fields = [['a', '\u00c3\u00a9 \u00e2\u0082\u00ac \u00f0\u009f\u0098\u0080']] as const;
    expect(decodeTrailers(encodeTrailers(fields))).toEqual(fields);
  });

  it('Any bytes are decoded to a valid head, or refused with a typed error', () => {
    const isValid = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(3), (bytes, fields) => {
        const table = Uint8Array.from([0, fields, ...bytes]);
        const head = decodedOrRefused(table);
        if (head === undefined) return;
        const { method, path: target, headers: list } = head;
        const names = list.map(([name]) => name);
        const values = list.map(([, text]) => text);
        expect([method, ...names].filter((text) => !isValid.test(text))).toEqual([]);
        expect([target, ...values].filter((text) => /[\r\n\0]/.test(text))).toEqual([]);
      }),
      { numRuns: 500 },
    );
  });

  it('Records are read the same wherever the stream is split', () => {
    fc.assert(
      fc.property(records, fc.array(fc.nat(400), { maxLength: 12 }), (list, cuts) => {
        const bytes = joined(list);
        const at = [0, ...cuts.filter((cut) => cut < bytes.length), bytes.length];
        at.sort((a, b) => a - b);
        const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end));
        const whole = read([bytes]);
        expect(read(pieces)).toEqual(whole);
        expect(read(Array.from(bytes, (byte) => Uint8Array.of(byte)))).toEqual(whole);
        const bodies = list.filter(({ type }) => type === 2);
        const bodyBytes = bodies.reduce((sum, { payload }) => sum + payload.length, 0);
        expect(whole.otherBytes).toBe(bytes.length - bodyBytes);
        const isRecord = (event: string): boolean => !event.startsWith('body');
        expect(whole.events.filter(isRecord)).toEqual(
          list
            .filter(({ type }) => type !== 2)
            .map(({ type, payload }) => `${type} ${payload.join()}`),
        );
      }),
    );
  });

  it('The end of a stream counts as complete between records only', () => {
    const reader = new RecordReader({ onRecord() {}, onBody() {} });
    const complete: boolean[] = [];
    for (const byte of [2, 0, 0, 2, 65, 66, 3, 0, 0, 1, 9]) {
      reader.push(Uint8Array.of(byte));
      complete.push(reader.isBetweenRecords);
    }
    expect(complete.flatMap((is, at) => (is ? [at + 1] : []))).toEqual([
      recordHeaderBytes + 2,
      2 * recordHeaderBytes + 3,
    ]);
  });
});

describe('A head that is not HTTP', () => {
  const withField = (name: string, text: string) => encodeTrailers([[name, text]]).slice();

  it.each([
    ['a line break in a value', withField('a', 'b\r\nc: d')],
    ['a NUL in a value', withField('a', 'b\0')],
    ['whitespace before a value', withField('a', ' b')],
    ['whitespace behind a value', withField('a', 'b\t')],
    ['a line break in a name', withField('a\r\n', 'b')],
    ['a colon in a name', withField('a:b', 'c')],
    ['a space in a name', withField('a b', 'c')],
    ['an empty name', withField('', 'b')],
    ['bytes behind its texts', Uint8Array.of(0, 0, 65)],
    ['fewer bytes than its lengths', withField('a', 'bc').subarray(0, 8)],
    ['more fields than its bytes', Uint8Array.of(0xff, 0xff, 0, 1)],
    ['no bytes', new Uint8Array(0)],
  ])('Trailers with %s are refused', (_, bytes) => {
    expect(() => decodeTrailers(bytes)).toThrow(
      expect.objectContaining({ code: 'protocol_error' }),
    );
  });

  it.each([
    ['a space in its path', 'GET', '/a b'],
    ['a line break in its path', 'GET', '/a\r\nb'],
    ['a fragment', 'GET', '/a#b'],
    ['a path in absolute form', 'GET', 'http://a/'],
    ['an empty path', 'GET', ''],
    ['a space in its method', 'GE T', '/'],
    ['an empty method', '', '/'],
  ])('A request with %s is refused', (_, method, target) => {
    const bytes = encodeRequestHead({ method, path: target, headers: [] });
    expect(() => decodeRequestHead(bytes)).toThrow(
      expect.objectContaining({ code: 'protocol_error' }),
    );
  });
});
