import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameDecoder } from '../../src/tunnel/frame-decoder.ts';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';

type Seen =
  | { data: string; session: number; stream: number }
  | { type: FrameType; session: number; stream: number; payload: string };

const limits = { maxControlBytes: 1000, maxDataFrameBytes: 2000 };

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
}

/** A decoder and its output. Pieces are wiped after each push, because they are only borrowed. */
function recordingDecoder() {
  const seen: Seen[] = [];
  const decoder = new FrameDecoder(
    {
      onData(session, stream, bytes) {
        expect(bytes.length).toBeGreaterThan(0);
        seen.push({ data: Buffer.from(bytes).toString('hex'), session, stream });
      },
      onFrame(type, session, stream, payload) {
        seen.push({ type, session, stream, payload: Buffer.from(payload).toString('hex') });
      },
    },
    limits,
  );
  const push = (bytes: Uint8Array, ends?: boolean) => {
    const piece = Uint8Array.from(bytes);
    decoder.push(piece, ends);
    piece.fill(0xee);
  };
  return { seen, decoder, push };
}

function codeOf(run: () => void): string {
  try {
    run();
  } catch (thrown) {
    if (thrown instanceof TunnelError) return thrown.code;
    throw thrown;
  }
  return 'none';
}

describe('FrameDecoder', () => {
  const data = hex('13 00 0000 0a0b0c0d ffffffff 68656c6c6f');
  const credit = hex('16 00 0000 00000001 80000002 82a872656365');

  it('The frame decoder reads a DATA frame', () => {
    const { seen, push } = recordingDecoder();
    push(data, true);
    expect(seen).toEqual([{ data: '68656c6c6f', session: 0x0a0b0c0d, stream: 0xffffffff }]);
  });

  it('The frame decoder reads a complete frame of another type without copying its payload', () => {
    let payload: Uint8Array | undefined;
    const decoder = new FrameDecoder({
      onData() {},
      onFrame(_type, _session, _stream, bytes) {
        payload = bytes;
      },
    });
    decoder.push(credit, true);
    expect(payload?.buffer).toBe(credit.buffer);
  });

  it('The frame decoder reads frames that are cut at any two places', () => {
    for (let first = 0; first <= credit.length; first++) {
      for (let second = first; second <= credit.length; second++) {
        for (const endsWithPiece of [true, false]) {
          const { seen, push, decoder } = recordingDecoder();
          push(credit.subarray(0, first));
          push(credit.subarray(first, second));
          push(credit.subarray(second), endsWithPiece);
          if (!endsWithPiece) decoder.endMessage();
          push(data, true);
          expect(seen).toEqual([
            { type: FrameType.credit, session: 1, stream: 0x80000002, payload: '82a872656365' },
            { data: '68656c6c6f', session: 0x0a0b0c0d, stream: 0xffffffff },
          ]);
        }
      }
    }
  });

  it('The frame decoder passes pieces of DATA on as they arrive', () => {
    for (let cut = 0; cut <= data.length; cut++) {
      const { seen, push, decoder } = recordingDecoder();
      push(data.subarray(0, cut));
      expect(seen).toHaveLength(cut > 12 ? 1 : 0);
      push(data.subarray(cut));
      decoder.endMessage();
      const joined = seen.map((event) => ('data' in event ? event.data : '?')).join('');
      expect(joined).toBe('68656c6c6f');
      push(credit, true);
      expect(seen.at(-1)).toMatchObject({ type: FrameType.credit });
    }
  });

  it('The frame decoder reports nothing for a DATA frame without payload', () => {
    const { seen, push, decoder } = recordingDecoder();
    push(data.subarray(0, 12), true);
    push(data.subarray(0, 12));
    decoder.endMessage();
    expect(seen).toEqual([]);
  });

  it('The frame decoder passes on an empty payload of another type', () => {
    const { seen, push, decoder } = recordingDecoder();
    const fin = encodeFrame(FrameType.fin, 5, 6);
    push(fin, true);
    push(fin);
    decoder.endMessage();
    const expected = { type: FrameType.fin, session: 5, stream: 6, payload: '' };
    expect(seen).toEqual([expected, expected]);
  });

  it.each([
    ['unknown type', hex('ff 00 0000 00000000 00000000'), 'protocol_error'],
    ['type zero', hex('00 00 0000 00000000 00000000'), 'protocol_error'],
    ['flags', hex('13 01 0000 00000000 00000000'), 'protocol_error'],
    ['first reserved byte', hex('13 00 0100 00000000 00000000'), 'protocol_error'],
    ['second reserved byte', hex('13 00 0001 00000000 00000000'), 'protocol_error'],
    ['short header', hex('13 00 0000 00000000 000000'), 'protocol_error'],
    ['nothing', hex(''), 'protocol_error'],
    ['long control', encodeFrame(FrameType.open, 0, 1, new Uint8Array(1001)), 'frame_too_large'],
    ['long DATA', encodeFrame(FrameType.data, 0, 1, new Uint8Array(2001)), 'frame_too_large'],
    ['longest control', encodeFrame(FrameType.open, 0, 1, new Uint8Array(1000)), 'none'],
    ['longest DATA', encodeFrame(FrameType.data, 0, 1, new Uint8Array(2000)), 'none'],
  ])(
    'The frame decoder gives the same verdict on a message with %s, whole and in pieces',
    (_name, bytes, code) => {
      const whole = recordingDecoder();
      expect(codeOf(() => whole.push(bytes, true))).toBe(code);
      const pieces = recordingDecoder();
      const inPieces = () => {
        for (let at = 0; at < bytes.length; at++) pieces.push(bytes.subarray(at, at + 1));
        pieces.decoder.endMessage();
      };
      expect(codeOf(inPieces)).toBe(code);
    },
  );

  it('The frame decoder passes on no DATA beyond the limit', () => {
    const { seen, push } = recordingDecoder();
    push(encodeFrame(FrameType.data, 0, 1, new Uint8Array(2000)));
    expect(codeOf(() => push(new Uint8Array(1)))).toBe('frame_too_large');
    expect(seen).toHaveLength(1);
  });

  it('The frame decoder answers a million random and mutated frames with typed errors only, and keeps at most one payload', () => {
    const random = generator(20_261_122);
    const templates = Object.values(FrameType).map((type) =>
      encodeFrame(type, 7, 9, new Uint8Array(40).fill(type)),
    );
    const bytes = new Uint8Array(1200);
    const outcomes = new Map<string, number>();
    let longest = 0;
    const owner = {
      onData: (_session: number, _stream: number, piece: Uint8Array) => {
        longest = Math.max(longest, piece.length);
      },
      onFrame: (_type: FrameType, _session: number, _stream: number, payload: Uint8Array) => {
        longest = Math.max(longest, payload.length);
      },
    };
    let decoder = new FrameDecoder(owner, limits);
    for (let round = 0; round < 1_000_000; round++) {
      const template = templates[round % templates.length]!;
      const choice = random() & 7;
      let length =
        choice === 0 || choice === 3
          ? random() % bytes.length
          : template.length - (choice === 1 ? random() % 45 : 0);
      if (choice < 2) for (let at = 0; at < 12; at++) bytes[at] = random();
      if (choice > 0) bytes.set(template);
      if (choice === 2) bytes[random() % 12] = random();
      length = Math.max(0, length);
      const code = codeOf(() => {
        for (let at = 0; at < length;) {
          const end = choice < 5 ? length : Math.min(length, at + 1 + (random() % length));
          decoder.push(bytes.subarray(at, end), false);
          at = end;
        }
        decoder.endMessage();
      });
      outcomes.set(code, (outcomes.get(code) ?? 0) + 1);
      if (code !== 'none') decoder = new FrameDecoder(owner, limits);
    }
    expect([...outcomes.keys()].toSorted()).toEqual(['frame_too_large', 'none', 'protocol_error']);
    for (const count of outcomes.values()) expect(count).toBeGreaterThan(1000);
    expect(longest).toBeLessThanOrEqual(limits.maxDataFrameBytes);
  }, 120_000);
});

function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 8;
  };
}
