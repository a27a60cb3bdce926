import * as fc from 'fast-check';

/** The largest payload of a control frame, in bytes. */
const payloadBytes = 64 * 1024;

const extensionTypes = [0, 0x42, 0x62, 0x65, 0x69, 0x70, 0x72, 0x73, 0x74, 0x78, 0x7f, 0xff];
const fixedExtensions = [0xd4, 0xd5, 0xd6, 0xd7, 0xd8] as const;
const countedHeads = [0xdc, 0xdd, 0xde, 0xdf, 0xd9, 0xda, 0xdb, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9];

const byte = fc.integer({ min: 0, max: 255 });
const name = fc.constantFrom('a', 'major', 'session', 'streams', '__proto__', 'constructor', '');
const text = name.map((word) => [0xa0 | word.length, ...Buffer.from(word)]);

const extension = fc
  .tuple(fc.constantFrom(...fixedExtensions), fc.constantFrom(...extensionTypes))
  .map(([head, type]) => {
    const length = 2 ** fixedExtensions.indexOf(head);
    return [head, type, ...Array<number>(length).fill(0)];
  });

/** A record definition of msgpackr with values that refer to the same record again. */
const record = fc
  .tuple(fc.integer({ min: 0x40, max: 0x7f }), fc.integer({ min: 1, max: 15 }), fc.nat(20))
  .map(([slot, names, references]) => [
    ...[0xd4, 0x72, slot, 0x90 | names],
    ...Array.from({ length: names }, (_, at) => [0xa1, 0x61 + at]).flat(),
    ...Array<number>(references).fill(slot),
    ...Array<number>(names).fill(0xc0),
  ]);

const nested = fc.constantFrom([0x91], [0x81, 0xa1, 0x61], [0x92, 0x90], [0x9f], [0x8f]);
const empty = fc.constantFrom([0x90], [0x80], [0xa0], [0xc0], [0xc4, 0]);
const huge = fc
  .tuple(fc.constantFrom(...countedHeads), fc.array(byte, { minLength: 4, maxLength: 4 }))
  .map(([head, length]) => [head, ...length]);
const field = fc.tuple(text, empty).map((parts) => parts.flat());
const number = fc.tuple(fc.constantFrom(0xca, 0xcb, 0xcf, 0xd3), fc.array(byte, { maxLength: 8 }));

const piece = fc.oneof(
  extension,
  record,
  nested,
  empty,
  huge,
  field,
  text,
  number.map(([head, bytes]) => [head, ...bytes]),
  byte.map((value) => [value]),
);

/** The beginning of a payload: what has to come before a decoder reads a value of a field. */
const start = fc.constantFrom<number[]>(
  [],
  [0x81, 0xa1, 0x61],
  [0x82, 0xa1, 0x61],
  [0xde, 0xff, 0xff],
  [0x83, 0xa7, ...Buffer.from('streams'), 0xdc, 0xff, 0xff],
  [0xdc, 0xff, 0xff],
);

/**
 * Payloads of up to 64 KiB of a few pieces that repeat, made to cost a MessagePack decoder as much
 * as possible.
 */
export const hostilePayload: fc.Arbitrary<Uint8Array> = fc
  .tuple(start, fc.array(piece, { minLength: 1, maxLength: 6 }), fc.boolean())
  .map(([first, pieces, whole]) => filled(first, pieces.flat(), whole ? payloadBytes : 256));

/** Payloads that are known to be expensive, by what they are. */
export const knownBombs: readonly (readonly [string, Uint8Array])[] = [
  [
    'records that refer to themselves',
    bomb([0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x40, 0x40, 0x40, 0xc0]),
  ],
  ['records inside records', bomb([0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61])],
  ['lists inside lists', bomb([0x91])],
  ['maps inside maps', bomb([0x81, 0xa1, 0x61])],
  ['empty lists', bomb([0x90])],
  ['lists of empty lists', bomb([0x9f, ...Array<number>(15).fill(0x90)])],
  ['short texts', bomb([0xa2, 0x61, 0x62])],
  ['texts of Chinese characters', bomb([0xbe, ...Buffer.from('汉'.repeat(10))])],
  ['floats', bomb([0xcb, 0x3f, 0xf1, 0, 0, 0, 0, 0, 1])],
  ['lists that announce four billion items', bomb([0xdd, 0xff, 0xff, 0xff, 0xff])],
  ['sets', bomb([0xd4, 0x73, 0x00, 0x9f, ...Array<number>(15).fill(0x01)])],
  ['large numbers as extensions', bomb([0xc8, 0x40, 0x00, 0x42])],
];

/**
 * The one of them that cost a general decoder most: it compiled a function for each of thousands of
 * records.
 */
export const costliestBomb: Uint8Array = knownBombs[0]![1];

/** A map whose only value is a list of the piece again and again. */
function bomb(repeated: readonly number[]): Uint8Array {
  return filled([0x81, 0xa1, 0x61, 0xdc, 0x60, 0x00], repeated, payloadBytes);
}

function filled(first: readonly number[], repeated: readonly number[], bytes: number): Uint8Array {
  const payload = new Uint8Array(bytes);
  payload.set(first);
  for (let at = first.length; at + repeated.length <= bytes; at += repeated.length) {
    payload.set(repeated, at);
  }
  return payload;
}
