import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import * as linkMessages from '../../src/tunnel/message.ts';
import * as openMessages from '../../src/tunnel/open-message.ts';
import { callerLimits } from '../../src/tunnel/stream-request.ts';
import * as syncMessages from '../../src/tunnel/sync-message.ts';

const message = { ...linkMessages, ...openMessages, ...syncMessages };

const { encodeMessage } = message;

interface Row {
  readonly name: string;
  readonly decode: (payload: Uint8Array) => unknown;
  readonly good: Readonly<Record<string, unknown>>;
  /** The decoded fields of `good`, if they differ from `good`. */
  readonly decoded?: unknown;
  /** Texts that are cut when they are longer than this. */
  readonly cut?: Readonly<Record<string, number>>;
  /** Texts that must be 1 to so many characters long. */
  readonly names?: Readonly<Record<string, number>>;
  readonly numbers?: Readonly<Record<string, number>>;
  /** Fields that may be left out, and have tests of their own. */
  readonly optional?: readonly string[];
}

const maxU32 = 0xffff_ffff;
const sessionId = '3f2a9c04d1e85b67a0f1c2d3e4b59687';
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
    name: 'HELLO of a dialer',
    decode: message.decodeHello,
    good: { major: 1, minor: 0, software: 'x', session: sessionId, resume: 'agent-a' },
    names: { resume: 256 },
    optional: ['session', 'resume'],
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
    good: { dialer: 'bridge-0', session: sessionId, resume: true },
    cut: { dialer: 256 },
    optional: ['resume'],
  },
  {
    name: 'OPEN',
    decode: message.decodeOpen,
    good: {
      kind: 'tcp',
      host: '::1',
      port: 443,
      window: 262_144,
      timeoutMs: 10_000,
      stop: true,
      caller: 'ada',
      callerGroups: ['admins', 'dev'],
      trace: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    },
    decoded: {
      target: { kind: 'tcp', host: '::1', port: 443 },
      window: 262_144,
      timeoutMs: 10_000,
      stop: true,
      caller: { user: 'ada', groups: ['admins', 'dev'] },
      trace: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    },
    optional: ['stop', 'caller', 'callerGroups', 'trace'],
    names: { host: 1024 },
    numbers: { port: 65_535, window: maxU32, timeoutMs: maxU32 },
  },
  {
    name: 'OPENED',
    decode: message.decodeOpened,
    good: { window: 262_144, stop: true },
    optional: ['stop'],
    numbers: { window: maxU32 },
  },
  ...(['refused', 'reset', 'detach'] as const).map((type) => ({
    name: type.toUpperCase(),
    decode: (payload: Uint8Array) => message.decodeFailure(FrameType[type], payload),
    good: failure,
    cut: { message: 2048 },
  })),
  {
    name: 'SYNC',
    decode: message.decodeSync,
    good: {
      streams: [
        [1, 5, 10],
        [2, 2 ** 40, 2 ** 40 + 1],
      ],
      failures: [[3, 'cancelled', 'the client left']],
      last: true,
      moved: true,
    },
    decoded: {
      streams: [
        { stream: 1, received: 5, limit: 10 },
        { stream: 2, received: 2 ** 40, limit: 2 ** 40 + 1 },
      ],
      failures: [{ stream: 3, code: 'cancelled', message: 'the client left' }],
      last: true,
      moved: true,
    },
    optional: ['last', 'moved'],
  },
  {
    name: 'GOAWAY',
    decode: message.decodeGoAway,
    good: { deadlineMs: 30_000, retryAfterMs: 0, scope: 'agent' },
    optional: ['scope'],
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

describe.each(rows)('$name', (row) => {
  const { name, decode, good, decoded, cut, names, numbers, optional = [] } = row;
  const needed = Object.keys(good).filter((field) => field !== 'code' && !optional.includes(field));
  const decodeFields = (fields: object): unknown => decode(encodeMessage(fields));

  it(`The message ${name} is the same after encoding and decoding`, () => {
    expect(decodeFields(good)).toEqual(decoded ?? good);
  });

  it(`The decoder of ${name} ignores unknown fields`, () => {
    expect(decodeFields({ ...good, later: { nested: [1, 2] } })).toEqual(decoded ?? good);
  });

  it.each(needed)(`The decoder of ${name} requires the field %s`, (field) => {
    const { [field]: _, ...rest } = good;
    expect(codeOf(() => decodeFields(rest))).toBe('protocol_error');
    const others = [[], typeof good[field] === 'string' ? 7 : '7'];
    for (const wrong of [null, true, {}, ...(Array.isArray(good[field]) ? [7] : others)]) {
      expect(codeOf(() => decodeFields({ ...good, [field]: wrong }))).toBe('protocol_error');
    }
  });

  it.each(Object.entries(numbers ?? {}))(
    `The decoder of ${name} accepts only whole numbers as %s, up to %i`,
    (field, max) => {
      for (const wrong of [-1, 1.5, max + 1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 60]) {
        expect(codeOf(() => decodeFields({ ...good, [field]: wrong }))).toBe('protocol_error');
      }
      // The largest major number is well formed, but a version that we do not support.
      const largest = codeOf(() => decodeFields({ ...good, [field]: max }));
      expect(largest).toBe(field === 'major' ? 'version_unsupported' : 'nothing thrown');
    },
  );

  it.each(Object.entries(cut ?? {}))(
    `The decoder of ${name} cuts the field %s to %i characters`,
    (field, max) => {
      const fields = decodeFields({ ...good, [field]: 'x'.repeat(max + 1) });
      expect(fields).toMatchObject({ [field]: 'x'.repeat(max) });
    },
  );

  it.each(Object.entries(names ?? {}))(
    `The decoder of ${name} accepts only 1 to %i characters as %s`,
    (field, max) => {
      expect(codeOf(() => decodeFields({ ...good, [field]: 'x'.repeat(max) }))).toBe(
        'nothing thrown',
      );
      for (const wrong of ['', 'x'.repeat(max + 1)]) {
        expect(codeOf(() => decodeFields({ ...good, [field]: wrong }))).toBe('protocol_error');
      }
    },
  );

  it(`The error of a malformed ${name} names its frame`, () => {
    expect(() => decode(Uint8Array.of(0xc1))).toThrow(name.split(' ')[0]);
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
  ])(`The decoder of ${name} refuses %s`, (_, payload) => {
    expect(codeOf(() => decode(payload))).toBe('protocol_error');
  });

  it(`The decoder of ${name} answers any garbage with a result or a typed error`, () => {
    const codes = new Set([
      'nothing thrown',
      'protocol_error',
      'version_unsupported',
      ...(name === 'OPEN' ? ['unsupported_target'] : []),
    ]);
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

describe('version skew: HELLO of another version', () => {
  it.each([0, 2])(
    'version skew: HELLO of another major version is refused with both numbers: %i',
    (major) => {
      const payload = encodeMessage({ major, minor: 0, software: 'x' });
      expect(codeOf(() => message.decodeHello(payload))).toBe('version_unsupported');
      expect(() => message.decodeHello(payload)).toThrow(`culvert ${major}, this one 1`);
    },
  );

  it('version skew: HELLO with a later minor version is accepted', () => {
    const hello = { major: 1, minor: 7, software: 'x' };
    expect(message.decodeHello(encodeMessage(hello))).toEqual(hello);
  });
});

describe('The session fields of HELLO and ATTACH', () => {
  const hello = { major: 1, minor: 0, software: 'x' };
  const attach = { dialer: 'bridge-0' };

  it.each([
    '',
    sessionId.slice(1),
    `${sessionId}0`,
    sessionId.toUpperCase(),
    `${sessionId.slice(2)}\n0`,
    7,
  ])('The session id has 32 lower-case hexadecimal digits, so %j is refused', (session) => {
    const decodeHello = (): unknown => message.decodeHello(encodeMessage({ ...hello, session }));
    const decodeAttach = (): unknown => message.decodeAttach(encodeMessage({ ...attach, session }));
    expect(codeOf(decodeHello)).toBe('protocol_error');
    expect(codeOf(decodeAttach)).toBe('protocol_error');
  });

  it('The session id may be missing in the HELLO of an agent', () => {
    expect(message.decodeHello(encodeMessage(hello))).toEqual(hello);
  });

  it('ATTACH makes a new session unless its resume field is true', () => {
    for (const resume of [undefined, false, 1, 'true']) {
      const payload = encodeMessage({ ...attach, session: sessionId, resume });
      expect(message.decodeAttach(payload).resume).toBe(false);
    }
  });
});

describe('GOAWAY', () => {
  it.each([undefined, 'broker', 'from the future'])(
    'GOAWAY with scope %s is about the broker',
    (scope) => {
      const payload = encodeMessage({ deadlineMs: 1, retryAfterMs: 2, scope });
      expect(message.decodeGoAway(payload).scope).toBe('broker');
    },
  );
});

describe('SYNC', () => {
  const good = { streams: [[1, 5, 10]], failures: [[3, 'reset', 'a reason']], last: false };

  it.each([
    ['two numbers', [[1, 5]]],
    ['a fraction', [[1, 5.5, 10]]],
    ['a number that no offset reaches', [[1, 2 ** 60, 10]]],
    ['text', [[1, '5', 10]]],
    ['no list', [7]],
    ['nothing', [null]],
  ])('SYNC with %s for a stream is malformed', (_, streams) => {
    const payload = encodeMessage({ ...good, streams });
    expect(codeOf(() => message.decodeSync(payload))).toBe('protocol_error');
  });

  it.each([
    ['no sentence', [[3, 'reset']]],
    ['no number', [['3', 'reset', 'a reason']]],
    ['no list', ['3']],
  ])('SYNC with %s for a failure is malformed', (_, failures) => {
    const payload = encodeMessage({ ...good, failures });
    expect(codeOf(() => message.decodeSync(payload))).toBe('protocol_error');
  });

  it('SYNC reads an unknown failure code as internal, and cuts the sentence', () => {
    const payload = encodeMessage({ ...good, failures: [[3, 'new', 'x'.repeat(5000)]] });
    const [failure] = message.decodeSync(payload).failures;
    expect(failure).toEqual({ stream: 3, code: 'internal', message: 'x'.repeat(128) });
  });
});

describe('OPEN', () => {
  const fields = { kind: 'tcp', host: 'kube', port: 6443, window: 1, timeoutMs: 2 };
  const target = { kind: 'tcp', host: 'kube', port: 6443 } as const;
  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const decodeFields = (more: object) => message.decodeOpen(encodeMessage({ ...fields, ...more }));

  it('OPEN with a kind of target that this version does not know has a code of its own', () => {
    expect(codeOf(() => decodeFields({ kind: 'udp' }))).toBe('unsupported_target');
    const { host: _, port: __, ...other } = fields;
    const open = { ...other, kind: 'udp', path: '/' };
    expect(codeOf(() => message.decodeOpen(encodeMessage(open)))).toBe('unsupported_target');
  });

  it.each([undefined, null])('OPEN with %s for caller and trace has neither', (nothing) => {
    const open = decodeFields({ caller: nothing, callerGroups: nothing, trace: nothing });
    expect(open).toEqual({ target, window: 1, timeoutMs: 2 });
  });

  it('OPEN carries the caller within its limits', () => {
    const { maxGroups, maxNameLength, maxTotalLength } = callerLimits;
    const groups = Array<string>(maxGroups).fill('g');
    for (const caller of [
      { user: 'u' },
      { user: 'u', groups: [] },
      { user: 'u', groups },
      { user: 'u'.repeat(maxNameLength), groups: ['g'.repeat(maxNameLength)] },
      { user: 'u'.repeat(maxNameLength), groups: Array<string>(7).fill('g'.repeat(512)) },
    ]) {
      const open = { target, window: 1, timeoutMs: 2, caller };
      expect(message.decodeOpen(message.encodeOpen(open))).toEqual(open);
    }
    expect(maxTotalLength).toBe(8 * maxNameLength);
  });

  it.each([
    ['a number', { caller: 7 }],
    ['no character', { caller: '' }],
    ['a user that is too long', { caller: 'u'.repeat(513) }],
    ['groups that are no list', { caller: 'u', callerGroups: 'g' }],
    ['a group that is no text', { caller: 'u', callerGroups: ['g', 7] }],
    ['a group without a character', { caller: 'u', callerGroups: [''] }],
    ['a group that is too long', { caller: 'u', callerGroups: ['g'.repeat(513)] }],
    ['too many groups', { caller: 'u', callerGroups: Array<string>(129).fill('g') }],
    [
      'too many characters together',
      { caller: 'u', callerGroups: Array<string>(8).fill('g'.repeat(512)) },
    ],
  ])('OPEN whose caller has %s is malformed', (_, more) => {
    expect(codeOf(() => decodeFields(more))).toBe('protocol_error');
  });

  it('OPEN carries a valid traceparent', () => {
    for (const valid of [trace, trace.replace(/^00/, '01'), trace.replace(/01$/, '00')]) {
      expect(decodeFields({ trace: valid }).trace).toBe(valid);
    }
  });

  it.each([
    7,
    '',
    'x',
    trace.toUpperCase(),
    trace.replace(/^00/, 'ff'),
    trace.replace(/-[0-9a-f]{32}-/, `-${'0'.repeat(32)}-`),
    trace.replace(/-[0-9a-f]{16}-/, `-${'0'.repeat(16)}-`),
    `${trace}-more`,
    `${trace}\n`,
    trace.slice(1),
  ])('OPEN with the invalid traceparent %j opens its stream without a trace', (invalid) => {
    expect(decodeFields({ trace: invalid })).toEqual({ target, window: 1, timeoutMs: 2 });
  });

  it('OPEN is the same after decoding and encoding', () => {
    const open = {
      target: { kind: 'tcp', host: 'kube', port: 6443 },
      window: 1,
      timeoutMs: 2,
    } as const;
    expect(message.decodeOpen(message.encodeOpen(open))).toEqual(open);
  });
});

describe('A failure on the wire', () => {
  it('A failure with an unknown code becomes internal and keeps its sentence', () => {
    const payload = encodeMessage({ code: 'from_the_future', message: 'a reason' });
    expect(message.decodeFailure(FrameType.reset, payload)).toEqual({
      code: 'internal',
      message: 'a reason',
    });
  });

  it('A failure is cut before it is sent', () => {
    const payload = message.encodeFailure(new TunnelError('reset', 'x'.repeat(5000)));
    expect(message.decodeFailure(FrameType.reset, payload).message).toHaveLength(2048);
  });

  it('A failure on the wire carries neither stack nor cause', () => {
    const error = new TunnelError('dial_failed', 'no', { cause: new Error('secret') });
    expect(message.encodeFailure(error)).toEqual(
      encodeMessage({ code: 'dial_failed', message: 'no' }),
    );
  });
});
