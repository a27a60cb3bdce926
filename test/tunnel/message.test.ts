import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import * as message from '../../src/tunnel/message.ts';

const { encodeMessage } = message;

interface Row {
  readonly name: string;
  readonly decode: (payload: Uint8Array) => unknown;
  readonly good: Readonly<Record<string, unknown>>;
  /** What `good` is decoded to, where that is not `good` itself. */
  readonly decoded?: unknown;
  /** Texts that are cut when they are longer than this. */
  readonly cut?: Readonly<Record<string, number>>;
  /** Texts that must be 1 to so many characters long. */
  readonly names?: Readonly<Record<string, number>>;
  readonly numbers?: Readonly<Record<string, number>>;
}

const maxU32 = 0xffff_ffff;
const failure = { code: 'refused', message: 'connection refused' };
const rows: Row[] = [
  {
    name: 'HELLO',
    decode: message.decodeHello,
    good: { major: 1, minor: 0, software: 'culvert-agent/0.1.0' },
    cut: { software: 128 },
    numbers: { major: maxU32, minor: maxU32 },
  },
  {
    name: 'WELCOME',
    decode: message.decodeWelcome,
    good: { major: 1, minor: 0, replica: 'broker-0', session: 0xdeadbeef, agent: 'agent-0' },
    cut: { replica: 256, agent: 256 },
    numbers: { major: maxU32, minor: maxU32, session: maxU32 },
  },
  {
    name: 'ATTACH',
    decode: message.decodeAttach,
    good: { dialer: 'bridge-0' },
    cut: { dialer: 256 },
  },
  {
    name: 'OPEN',
    decode: message.decodeOpen,
    good: { kind: 'tcp', host: '::1', port: 443, window: 262_144, timeoutMs: 10_000 },
    decoded: {
      target: { kind: 'tcp', host: '::1', port: 443 },
      window: 262_144,
      timeoutMs: 10_000,
    },
    names: { host: 1024 },
    numbers: { port: 65_535, window: maxU32, timeoutMs: maxU32 },
  },
  {
    name: 'OPENED',
    decode: message.decodeOpened,
    good: { window: 262_144 },
    decoded: 262_144,
    numbers: { window: maxU32 },
  },
  ...(['refused', 'reset', 'detach'] as const).map((type) => ({
    name: type.toUpperCase(),
    decode: (payload: Uint8Array) => message.decodeFailure(FrameType[type], payload),
    good: failure,
    cut: { message: 2048 },
  })),
  {
    name: 'GOAWAY',
    decode: message.decodeGoAway,
    good: { deadlineMs: 30_000, retryAfterMs: 0 },
    numbers: { deadlineMs: maxU32, retryAfterMs: maxU32 },
  },
];

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    return thrown instanceof TunnelError ? thrown.code : `not a TunnelError: ${String(thrown)}`;
  }
  return 'nothing thrown';
}

describe.each(rows)('$name', ({ name, decode, good, decoded, cut, names, numbers }) => {
  const decodeFields = (fields: object): unknown => decode(encodeMessage(fields));

  it('is decoded to what was encoded', () => {
    expect(decodeFields(good)).toEqual(decoded ?? good);
  });

  it('ignores fields that it does not know', () => {
    expect(decodeFields({ ...good, later: { nested: [1, 2] } })).toEqual(decoded ?? good);
  });

  it.each(Object.keys(good).filter((field) => field !== 'code'))('needs %s', (field) => {
    const { [field]: _, ...rest } = good;
    expect(codeOf(() => decodeFields(rest))).toBe('protocol_error');
    for (const wrong of [null, true, {}, [], typeof good[field] === 'string' ? 7 : '7']) {
      expect(codeOf(() => decodeFields({ ...good, [field]: wrong }))).toBe('protocol_error');
    }
  });

  it.each(Object.entries(numbers ?? {}))('takes no %s but whole numbers up to %i', (field, max) => {
    for (const wrong of [-1, 1.5, max + 1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
      expect(codeOf(() => decodeFields({ ...good, [field]: wrong }))).toBe('protocol_error');
    }
    // The largest major is well formed, only not ours.
    const largest = codeOf(() => decodeFields({ ...good, [field]: max }));
    expect(largest).toBe(
      field === 'major' && name === 'HELLO' ? 'version_unsupported' : 'nothing thrown',
    );
  });

  it.each(Object.entries(cut ?? {}))('cuts %s to %i characters', (field, max) => {
    const fields = decodeFields({ ...good, [field]: 'x'.repeat(max + 1) });
    expect(fields).toMatchObject({ [field]: 'x'.repeat(max) });
  });

  it.each(Object.entries(names ?? {}))('takes %s of 1 to %i characters only', (field, max) => {
    expect(codeOf(() => decodeFields({ ...good, [field]: 'x'.repeat(max) }))).toBe(
      'nothing thrown',
    );
    for (const wrong of ['', 'x'.repeat(max + 1)]) {
      expect(codeOf(() => decodeFields({ ...good, [field]: wrong }))).toBe('protocol_error');
    }
  });

  it('says which frame was bad', () => {
    expect(() => decode(Uint8Array.of(0xc1))).toThrow(name);
  });

  it.each([
    ['nothing', Uint8Array.of()],
    ['nil', Uint8Array.of(0xc0)],
    ['a number', Uint8Array.of(7)],
    ['an array', encodeMessage([good])],
    ['text', encodeMessage(Object('text') as object)],
    ['a map that ends early', encodeMessage(good).subarray(0, -1)],
    ['bytes behind the map', Uint8Array.of(...encodeMessage(good), 0)],
    ['a map that claims four billion pairs', Uint8Array.of(0xdf, 255, 255, 255, 255)],
    [
      'an array that claims 30 million items',
      Uint8Array.of(0x81, 0xa1, 0x61, 0xdd, 1, 201, 195, 128),
    ],
  ])('refuses %s', (_, payload) => {
    expect(codeOf(() => decode(payload))).toBe('protocol_error');
  });

  it('answers any garbage with its result or a typed error', () => {
    const codes = new Set(['nothing thrown', 'protocol_error', 'version_unsupported']);
    const mutated = fc
      .tuple(fc.nat(200), fc.integer({ min: 0, max: 255 }))
      .map(([at, value]) => encodeMessage(good).with(at % encodeMessage(good).length, value));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), mutated), (payload) => {
        expect(codes).toContain(codeOf(() => decode(payload)));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('HELLO of another major version', () => {
  it.each([0, 2])('is refused with both numbers: %i', (major) => {
    const payload = encodeMessage({ major, minor: 0, software: 'x' });
    expect(codeOf(() => message.decodeHello(payload))).toBe('version_unsupported');
    expect(() => message.decodeHello(payload)).toThrow(`culvert ${major}, this one 1`);
  });

  it('is accepted with a later minor', () => {
    const hello = { major: 1, minor: 7, software: 'x' };
    expect(message.decodeHello(encodeMessage(hello))).toEqual(hello);
  });
});

describe('OPEN', () => {
  it('names no kind of target but tcp', () => {
    const open = { kind: 'http', host: 'h', port: 1, window: 1, timeoutMs: 0 };
    expect(codeOf(() => message.decodeOpen(encodeMessage(open)))).toBe('protocol_error');
  });

  it('is encoded from what it is decoded to', () => {
    const open = {
      target: { kind: 'tcp', host: 'kube', port: 6443 },
      window: 1,
      timeoutMs: 2,
    } as const;
    expect(message.decodeOpen(message.encodeOpen(open))).toEqual(open);
  });
});

describe('a failure on the wire', () => {
  it('becomes internal when its code is not known, and keeps its sentence', () => {
    const payload = encodeMessage({ code: 'from_the_future', message: 'a reason' });
    expect(message.decodeFailure(FrameType.reset, payload)).toEqual({
      code: 'internal',
      message: 'a reason',
    });
  });

  it('is cut before it is sent', () => {
    const payload = message.encodeFailure(new TunnelError('reset', 'x'.repeat(5000)));
    expect(message.decodeFailure(FrameType.reset, payload).message).toHaveLength(2048);
  });

  it('carries neither stack nor cause', () => {
    const error = new TunnelError('dial_failed', 'no', { cause: new Error('secret') });
    expect(message.encodeFailure(error)).toEqual(
      encodeMessage({ code: 'dial_failed', message: 'no' }),
    );
  });
});
