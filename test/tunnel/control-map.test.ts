import * as fc from 'fast-check';
import { Packr } from 'msgpackr';
import { afterAll, describe, expect, it } from 'vitest';
import { decodeControlMap } from '../../src/tunnel/control-map.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { controlMapLimits } from '../../src/tunnel/limits.ts';
import * as linkMessages from '../../src/tunnel/message.ts';
import * as openMessages from '../../src/tunnel/open-message.ts';
import * as syncMessages from '../../src/tunnel/sync-message.ts';
import { collectGarbage } from '../../testkit/processes/collect-garbage.ts';
import { StepCounter } from '../../testkit/processes/step-counter.ts';
import { hostilePayload, knownBombs } from '../../testkit/stream/hostile-payload.ts';

const message = { ...linkMessages, ...openMessages, ...syncMessages };

/** The largest SYNC of our own encoder takes 6. */
const maxStepsPerByte = 12;
const maxAllocatedBytes = 1024 * 1024;

// Before the first call, because it counts the blocks of functions that are compiled afterwards.
const stepCounter = new StepCounter(/\/src\/tunnel\//);
afterAll(() => stepCounter[Symbol.dispose]());

const packr = new Packr({ useRecords: false, variableMapSize: true });

const decoders: readonly ((payload: Uint8Array) => unknown)[] = [
  message.decodeHello,
  message.decodeWelcome,
  message.decodeAttach,
  message.decodeOpen,
  message.decodeOpened,
  message.decodeGoAway,
  message.decodeSync,
  (payload) => message.decodeFailure(FrameType.reset, payload),
];

function decode(payload: Uint8Array) {
  return decodeControlMap(FrameType.hello, payload);
}

function refusal(payload: Uint8Array): string {
  try {
    decode(payload);
  } catch (thrown) {
    if (thrown instanceof TunnelError && thrown.code === 'protocol_error') return thrown.message;
    throw thrown;
  }
  return 'nothing thrown';
}

/** The SYNC payload with the most values that an honest peer sends. */
const largestGood = message.encodeSync({
  streams: Array.from({ length: 1000 }, (_, at) => ({
    stream: at,
    received: 2 ** 40 + at,
    limit: 2 ** 41 + at,
  })),
  failures: [],
  last: true,
  moved: false,
});

const rounds = 8;

/**
 * The steps of a call in the code of the tunnel, and the least memory of several rounds, because the
 * garbage of others may be counted too.
 */
function cost(run: () => unknown): { readonly steps: number; readonly bytes: number } {
  const quiet = (): void => {
    try {
      run();
    } catch {
      // The errors of decoders have their own tests.
    }
  };
  const steps = stepCounter.count(quiet);
  let bytes = Infinity;
  for (let round = 0; round < rounds; round++) {
    const bytesBefore = process.memoryUsage().heapUsed;
    quiet();
    bytes = Math.min(bytes, Math.max(0, process.memoryUsage().heapUsed - bytesBefore));
  }
  return { steps, bytes };
}

describe('The decoder of control payloads', () => {
  it.each<[string, unknown]>([
    ['nil', null],
    ['booleans', [true, false]],
    ['small numbers', [0, 1, 127, -1, -32]],
    ['numbers of 8 bits', [128, 255, -33, -128]],
    ['numbers of 16 bits', [256, 65_535, -129, -32_768]],
    ['numbers of 32 bits', [65_536, 2 ** 32 - 1, -32_769, -(2 ** 31)]],
    ['numbers above 32 bits', [2 ** 32, 2 ** 53 - 1, -(2 ** 40)]],
    ['fractions', [0.5, -1.25, 1e300]],
    [
      'texts',
      ['', 'a', 'ä', '汉字', '😀', 'x'.repeat(31), 'x'.repeat(300), 'ö'.repeat(40_000 / 2)],
    ],
    ['lists of lists', [[], [1, 'a']]],
    ['a long list', Array.from({ length: 300 }, (_, at) => at)],
  ])('The decoder of control payloads reads what the msgpackr package encodes: %s', (_, value) => {
    expect(decode(packr.pack({ value })).get('value')).toEqual(value);
  });

  it('The decoder of control payloads reads 64-bit numbers and 32-bit floats of other encoders', () => {
    const field = (...value: number[]) =>
      decode(Uint8Array.of(0x81, 0xa1, 0x61, ...value)).get('a');
    expect(field(0xcf, 0, 0, 0, 1, 0, 0, 0, 2)).toBe(2 ** 32 + 2);
    expect(field(0xd3, 255, 255, 255, 255, 255, 255, 255, 254)).toBe(-2);
    expect(field(0xca, 0x3f, 0x80, 0, 0)).toBe(1);
  });

  it('The decoder of control payloads reads any value of the msgpackr package as the package itself does, within the limits', () => {
    const scalar = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.maxSafeInteger(),
      // The package writes -0 as 0.
      fc.double({ noNaN: true }).map((value) => value + 0),
      fc.string({ unit: 'binary', maxLength: 80 }),
    );
    const value = fc.oneof(scalar, fc.array(fc.oneof(scalar, fc.array(scalar, { maxLength: 5 }))));
    const shallow = fc.oneof(scalar, fc.array(scalar));
    const fields = fc.dictionary(fc.string({ maxLength: 40 }), fc.oneof(value, shallow), {
      maxKeys: 20,
      noNullPrototype: true,
    });
    fc.assert(
      fc.property(fields, (good) => {
        const decoded = decode(packr.pack(good));
        expect(Object.fromEntries(decoded)).toEqual(good);
      }),
    );
  });

  it('The decoder of control payloads skips nested maps, which no message has, and borrows binary data', () => {
    const payload = packr.pack({ a: { b: [1, 'c'] }, bytes: new Uint8Array(300), last: 7 });
    expect(Array.from(decode(payload))).toEqual([
      ['a', null],
      ['bytes', Buffer.alloc(300)],
      ['last', 7],
    ]);
  });

  it('The decoder of control payloads keeps a field called __proto__ apart from the prototype', () => {
    const payload = Uint8Array.of(0x81, 0xa9, ...Buffer.from('__proto__'), 0x91, 1);
    expect(decode(payload).get('__proto__')).toEqual([1]);
    expect(decode(payload).get('0')).toBeUndefined();
  });

  it.each<[string, number[], string]>([
    [
      'two fields of the same name',
      [0x82, 0xa1, 0x61, 1, 0xa1, 0x61, 2],
      'two fields of the same name',
    ],
    ['a number as a name', [0x81, 1, 1], 'a name that is not text'],
    ['an extension', [0x81, 0xa1, 0x61, 0xd4, 1, 0], 'an extension type'],
    ['a time stamp', [0x81, 0xa1, 0x61, 0xd6, 0xff, 0, 0, 0, 0], 'an extension type'],
    ['a record', [0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1], 'is not a map'],
    [
      'a record in a field',
      [0x81, 0xa1, 0x61, 0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 1],
      'an extension type',
    ],
    ['lists four deep', [0x81, 0xa1, 0x61, 0x91, 0x91, 0x91, 1], 'nested deeper than 3'],
    [
      'maps four deep',
      [0x81, 0xa1, 0x61, 0x81, 0xa0, 0x81, 0xa0, 0x81, 0xa0, 1],
      'nested deeper than 3',
    ],
    ['a text that is cut off', [0x81, 0xa1, 0x61, 0xa2, 0x61], 'ends early'],
    ['a list longer than the payload', [0x81, 0xa1, 0x61, 0xdc, 0, 2, 1], 'ends early'],
    ['65 fields', [0xde, 0, 65], 'has 65 fields, at most 64 are allowed'],
  ])('The decoder of control payloads refuses %s', (_, bytes, why) => {
    expect(refusal(Uint8Array.from(bytes))).toContain(why);
  });

  it('The decoder of control payloads counts values at all depths', () => {
    const { maxValues } = controlMapLimits;
    const list = (items: number) => packr.pack({ a: Array(items).fill(0) });
    expect(refusal(list(maxValues - 1))).toBe('nothing thrown');
    expect(refusal(list(maxValues))).toBe(`payload of HELLO has more than ${maxValues} values`);
  });

  it('The decoder of control payloads accepts the largest SYNC that our own encoder makes', () => {
    const streams = Array.from({ length: 1000 }, (_, stream) => ({
      stream,
      received: 1,
      limit: 2,
    }));
    const code = 'cancelled' as const;
    const failures = streams.slice(0, 100).map(({ stream }) => ({ stream, code, message: 'why' }));
    const sync = { streams, failures, last: true, moved: false };
    expect(message.decodeSync(message.encodeSync(sync))).toEqual(sync);
  });
});

describe('The cost of a hostile control payload', () => {
  it('The decoder takes a few steps per byte for the largest payload of an honest peer', () => {
    const { steps } = cost(() => message.decodeSync(largestGood));
    expect(steps).toBeGreaterThan(largestGood.length);
    expect(steps).toBeLessThan(maxStepsPerByte * largestGood.length);
  });

  it.each(knownBombs)(
    'The decoder spends little on a hostile control payload: %s',
    (_, payload) => {
      collectGarbage();
      for (const decodeMessage of decoders) {
        const { steps, bytes } = cost(() => decodeMessage(payload));
        expect(steps).toBeLessThan(maxStepsPerByte * payload.length);
        expect(bytes).toBeLessThan(maxAllocatedBytes);
      }
    },
  );

  it('The decoder spends little on any control payload', () => {
    collectGarbage();
    fc.assert(
      fc.property(hostilePayload, fc.constantFrom(...decoders), (payload, decodeMessage) => {
        const { steps, bytes } = cost(() => decodeMessage(payload));
        expect(steps).toBeLessThan(maxStepsPerByte * payload.length);
        expect(bytes).toBeLessThan(maxAllocatedBytes);
      }),
      { numRuns: 200 },
    );
  });

  it('The decoder answers any control payload with a typed error or a result', () => {
    fc.assert(
      fc.property(hostilePayload, (payload) => {
        expect(typeof refusal(payload)).toBe('string');
      }),
      { numRuns: 500 },
    );
  });

  it('The decoder keeps nothing of a long text in memory after it was cut', () => {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    const payload = message.encodeMessage({ major: 1, minor: 0, software: 'x'.repeat(60_000) });
    const kept = Array.from({ length: 200 }, () => message.decodeHello(payload).software);
    collectGarbage();
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(2 * 1024 * 1024);
    expect(kept).toHaveLength(200);
  });
});
