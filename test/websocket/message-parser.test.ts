import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { MessageParser, type WebSocketRole } from '../../src/websocket/message-parser.ts';

const maxDataFrameBytes = 70_000;

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));
}

/** Parses pieces, wipes each afterwards, and returns the messages. Binary pieces are joined. */
function parse(role: WebSocketRole, ...pieces: Uint8Array[]): string[] {
  const found: string[] = [];
  let binary = '';
  const parser = new MessageParser(
    role,
    {
      onBinary(piece, ends) {
        if (piece.length === 0 && !ends) found.push('an empty piece');
        binary += Buffer.from(piece).toString('hex');
        if (!ends) return;
        found.push(`binary ${binary}`);
        binary = '';
      },
      onText: (text) => found.push(`text ${text}`),
      onPing: (payload) => found.push(`ping ${Buffer.from(payload).toString('hex')}`),
      onPong: () => found.push('pong'),
      onCloseFrame: (code, reason) => found.push(`close ${code} ${reason}`),
    },
    maxDataFrameBytes,
  );
  for (const piece of pieces) {
    const borrowed = Uint8Array.from(piece);
    try {
      parser.push(borrowed);
    } catch (thrown) {
      if (!(thrown instanceof TunnelError)) throw thrown;
      found.push(thrown.code);
    }
    borrowed.fill(0xee);
  }
  if (binary !== '') found.push(`unfinished ${binary}`);
  return found;
}

/** The parsed messages if the bytes arrive whole, and cut at any two places. */
function everyCut(role: WebSocketRole, bytes: Uint8Array): string[][] {
  const found = [parse(role, bytes)];
  for (let first = 0; first <= bytes.length; first++) {
    for (let second = first; second <= bytes.length; second++) {
      const pieces = [
        [0, first],
        [first, second],
        [second, bytes.length],
      ] as const;
      found.push(parse(role, ...pieces.map(([start, end]) => bytes.subarray(start, end))));
    }
  }
  return found;
}

describe('MessageParser', () => {
  it.each<[string, WebSocketRole, string, string[]]>([
    ['an unmasked binary message', 'client', '82 05 48656c6c6f', ['binary 48656c6c6f']],
    // The masked "Hello" of RFC 6455, section 5.7, as binary.
    ['a masked binary message', 'server', '82 85 37fa213d 7f9f4d5158', ['binary 48656c6c6f']],
    ['a zero mask', 'server', '82 85 00000000 48656c6c6f', ['binary 48656c6c6f']],
    ['an empty message', 'client', '82 00', ['binary ']],
    ['an empty masked message', 'server', '82 80 37fa213d', ['binary ']],
    ['two messages', 'client', '82 01 aa 82 02 bbcc', ['binary aa', 'binary bbcc']],
    ['fragments', 'client', '02 01 aa 00 02 bbcc 80 01 dd', ['binary aabbccdd']],
    ['empty fragments', 'client', '02 00 00 01 aa 00 00 80 00', ['binary aa']],
    [
      'masked fragments, each with its own key',
      'server',
      '02 82 01020304 0000 80 83 a0b0c0d0 000000',
      ['binary 0102a0b0c0'],
    ],
    [
      'control frames between fragments',
      'client',
      '02 01 aa 89 02 0102 00 01 bb 8a 00 80 01 cc',
      ['ping 0102', 'pong', 'binary aabbcc'],
    ],
    ['the text ping', 'client', '81 04 70696e67', ['text ping']],
    ['the text pong, masked', 'server', '81 84 37fa213d 4795 4f5a', ['text pong']],
    [
      'a fragmented text with a ping inside',
      'client',
      '01 02 7069 89 03 313233 80 02 6e67',
      ['ping 313233', 'text ping'],
    ],
    ['a close without code', 'client', '88 00', ['close undefined ']],
    ['a close', 'client', '88 05 03e9 627965', ['close 1001 bye']],
    ['what follows a close', 'client', '88 02 03e8 82 01 aa ff', ['close 1000 ']],
    [
      'a ping with the longest payload',
      'client',
      `89 7d ${'ab'.repeat(125)}`,
      [`ping ${'ab'.repeat(125)}`],
    ],
  ])('The message parser reads %s, cut anywhere', (_name, role, bytes, expected) => {
    for (const found of everyCut(role, hex(bytes))) expect(found).toEqual(expected);
  });

  it.each([
    [126, 'fe 007e'],
    [65_535, 'fe ffff'],
    [65_536, 'ff 00000000 00010000'],
    [70_012, 'ff 00000000 0001117c'],
    // Not the shortest form. Some encoders always write eight bytes, which is harmless.
    [5, 'ff 00000000 00000005'],
  ])('The message parser reads a message of %d bytes', (bytes, length) => {
    const payload = Buffer.alloc(bytes, 0x41);
    const message = Buffer.concat([hex(`82 ${length} 00000000`), payload]);
    const expected = [`binary ${payload.toString('hex')}`];
    expect(parse('server', message)).toEqual(expected);
    for (let cut = 0; cut < 20; cut++) {
      expect(parse('server', message.subarray(0, cut), message.subarray(cut))).toEqual(expected);
    }
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < message.length; at += 4099) pieces.push(message.subarray(at, at + 4099));
    expect(parse('server', ...pieces)).toEqual(expected);
  });

  it('The message parser unmasks across pieces of any size', () => {
    const key = hex('deadbeef');
    const clear = Uint8Array.from({ length: 1000 }, (_, index) => index * 7);
    const masked = clear.map((byte, index) => byte ^ key[index & 3]!);
    const message = Buffer.concat([hex('82 fe 03e8'), key, masked]);
    const expected = [`binary ${Buffer.from(clear).toString('hex')}`];
    for (let size = 1; size < 150; size++) {
      const pieces: Uint8Array[] = [];
      for (let at = 0; at < message.length; at += size)
        pieces.push(message.subarray(at, at + size));
      expect(parse('server', ...pieces)).toEqual(expected);
    }
  });

  it('The message parser passes on each piece at once', () => {
    const pieces: number[] = [];
    const nothing = () => {};
    const parser = new MessageParser('client', {
      onBinary: (piece) => pieces.push(piece.length),
      onText: nothing,
      onPing: nothing,
      onPong: nothing,
      onCloseFrame: nothing,
    });
    parser.push(hex('82 7e 0100 00'));
    parser.push(new Uint8Array(200));
    expect(pieces).toEqual([1, 200]);
  });

  it.each<[string, WebSocketRole, string, string]>([
    ['a masked frame from a server', 'client', '82 81 00000000 aa', 'protocol_error'],
    ['an unmasked frame from a client', 'server', '82 01 aa', 'protocol_error'],
    ['RSV1', 'client', 'c2 01 aa', 'protocol_error'],
    ['RSV2', 'client', 'a2 01 aa', 'protocol_error'],
    ['RSV3', 'client', '92 01 aa', 'protocol_error'],
    ['opcode 3', 'client', '83 00', 'protocol_error'],
    ['opcode 7', 'client', '87 00', 'protocol_error'],
    ['opcode 11', 'client', '8b 00', 'protocol_error'],
    ['opcode 15', 'client', '8f 00', 'protocol_error'],
    ['a fragmented ping', 'client', '09 00', 'protocol_error'],
    ['a ping of 126 bytes', 'client', '89 7e 007e', 'protocol_error'],
    ['a continuation of nothing', 'client', '80 01 aa', 'protocol_error'],
    ['a message inside a message', 'client', '02 01 aa 82 01 bb', 'protocol_error'],
    ['a text inside a binary message', 'client', '02 00 81 04 70696e67', 'protocol_error'],
    ['another text', 'client', '81 05 48656c6c6f', 'protocol_error'],
    ['an empty text', 'client', '81 00', 'protocol_error'],
    ['a text that is not UTF-8', 'client', '81 02 c328', 'protocol_error'],
    ['a long text', 'client', '81 7e 007e', 'protocol_error'],
    ['a long text in fragments', 'client', `01 7d ${'41'.repeat(125)} 80 01 41`, 'protocol_error'],
    ['half a close code', 'client', '88 01 03', 'protocol_error'],
    ['close code 999', 'client', '88 02 03e7', 'protocol_error'],
    ['close code 1005', 'client', '88 02 03ed', 'protocol_error'],
    ['close code 1006', 'client', '88 02 03ee', 'protocol_error'],
    ['close code 1015', 'client', '88 02 03f7', 'protocol_error'],
    ['close code 5000', 'client', '88 02 1388', 'protocol_error'],
    ['a close reason that is not UTF-8', 'client', '88 04 03e8 c328', 'protocol_error'],
    ['a message over the limit', 'client', '82 7f 00000000 0001117d', 'frame_too_large'],
    ['a length of 2^63', 'client', '82 7f 80000000 00000000', 'frame_too_large'],
    ['a length of 2^64 - 1', 'client', '82 7f ffffffff ffffffff', 'frame_too_large'],
  ])(
    'The message parser refuses %s, cut anywhere, and ignores all later bytes',
    (_name, role, bytes, code) => {
      const message = hex(`${bytes} 82 00 82 00`);
      const withoutBinary = (found: string[]) =>
        found.filter((what) => !what.startsWith('unfinished'));
      for (let cut = 0; cut <= message.length; cut++) {
        const found = parse(role, message.subarray(0, cut), message.subarray(cut));
        expect(withoutBinary(found)).toEqual([code]);
      }
    },
  );

  it('The message parser counts all fragments of a message against the limit', () => {
    const part = Buffer.concat([hex('02 7e ea60'), Buffer.alloc(60_000)]);
    const more = Buffer.concat([hex('00 7e 271c'), Buffer.alloc(10_012)]);
    const whole = `binary ${Buffer.alloc(70_012).toString('hex')}`;
    expect(parse('client', part, more, hex('80 00'))).toEqual([whole]);
    expect(parse('client', part, more, hex('80 01 00')).at(-2)).toBe('frame_too_large');
  });

  it('The message parser answers random bytes with typed errors only', () => {
    let state = 99;
    const random = () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state >>> 16;
    };
    const seen = new Set<string>();
    for (let round = 0; round < 100_000; round++) {
      const bytes = Uint8Array.from({ length: 20 }, random);
      // Most random first bytes are refused at once; these go deeper.
      if (round % 2 === 0) bytes[0] = [0x82, 0x02, 0x81, 0x89, 0x88, 0x00][random() % 6]!;
      for (const what of parse('server', bytes.subarray(0, 7), bytes.subarray(7))) {
        seen.add(what.split(' ')[0]!);
      }
    }
    for (const what of ['protocol_error', 'frame_too_large', 'binary', 'ping']) {
      expect(seen).toContain(what);
    }
  }, 120_000);
});
