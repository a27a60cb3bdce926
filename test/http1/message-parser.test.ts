import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Http1Error } from '../../src/http1/http1-error.ts';
import { type AfterHead, MessageParser, type MessageSink } from '../../src/http1/message-parser.ts';

/** Notes what a parser finds. The first line of a head says what follows it. */
class RecordedMessages implements MessageSink {
  readonly events: string[] = [];
  #body = '';

  onHead(text: string): AfterHead {
    this.events.push(`head ${text}`);
    const [kind = '', bytes] = text.split('\r\n')[0]!.split(' ');
    return (
      kind === 'length'
        ? { kind, bytes: /^\d{1,3}$/.test(bytes ?? '') ? Number(bytes) : 0 }
        : { kind }
    ) as AfterHead;
  }

  onBody(bytes: Uint8Array): void {
    this.#body += Buffer.from(bytes).toString('latin1');
  }

  onTrailers(trailers: unknown): void {
    this.events.push(`trailers ${JSON.stringify(trailers)}`);
  }

  onComplete(): void {
    this.events.push(`complete ${this.#body}`);
    this.#body = '';
  }
}

/** Reads messages one after the other, from bytes that are cut at these places. */
function read(text: string, cuts: readonly number[] = []): string[] {
  const sink = new RecordedMessages();
  const parser = new MessageParser(sink, { maxHeadBytes: 100 });
  const bytes = Buffer.from(text, 'latin1');
  const places = [...new Set([0, ...cuts, bytes.length])].sort((a, b) => a - b);
  for (const [at, start] of places.entries()) {
    let rest = bytes.subarray(start, places[at + 1] ?? bytes.length);
    while (rest.length > 0) {
      if (parser.isIdle) parser.begin();
      const taken = parser.push(rest);
      if (taken === 0) {
        sink.events.push('raw');
        return sink.events;
      }
      rest = rest.subarray(taken);
    }
  }
  return sink.events;
}

const message = fc.oneof(
  fc.constant('none\r\nA: b\r\n\r\n'),
  fc.constant('head 1\r\n\r\n'),
  fc
    .string({ unit: 'binary-ascii', maxLength: 30 })
    .map((body) => `length ${body.length}\r\n\r\n${body}`),
  fc
    .tuple(
      fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 20 }), { maxLength: 4 }),
      fc.constantFrom('', 'X-Sum: 1\r\n', 'X-A: \r\nX-B: \xff\r\n'),
      fc.constantFrom('', ';a=b', ' ; c'),
    )
    .map(([pieces, trailers, extension]) => {
      const chunks = pieces.map(
        (piece) => `${piece.length.toString(16)}${extension}\r\n${piece}\r\n`,
      );
      return `chunked\r\n\r\n${chunks.join('')}0\r\n${trailers}\r\n`;
    }),
);

describe('A parser of HTTP/1.1 messages', () => {
  it('The parser finds the same messages wherever their bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(message, { minLength: 1, maxLength: 4 }),
        fc.array(fc.nat(400), { maxLength: 12 }),
        (messages, cuts) => {
          const text = messages.join('');
          const whole = read(text);
          expect(whole.filter((event) => event.startsWith('head')).length).toBe(messages.length);
          expect(
            read(
              text,
              cuts.map((cut) => cut % text.length),
            ),
          ).toEqual(whole);
          expect(
            read(
              text,
              Array.from(text, (_, at) => at),
            ),
          ).toEqual(whole);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('The parser reads a body of each framing', () => {
    const chunked = 'chunked\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\nX: y\r\n\r\n';
    expect(read(`none\r\n\r\nlength 2\r\n\r\nhi${chunked}`)).toEqual([
      'head none',
      'complete ',
      'head length 2',
      'complete hi',
      'head chunked',
      'trailers [["X","y"]]',
      'complete abc0123456789',
    ]);
  });

  it('The end of the connection completes only a body without a length', () => {
    const open = new RecordedMessages();
    const parser = new MessageParser(open, { maxHeadBytes: 100 });
    parser.begin();
    parser.push(Buffer.from('until-close\r\n\r\nabc'));
    expect(parser.finish()).toBe(true);
    expect(open.events.at(-1)).toBe('complete abc');
    parser.begin();
    expect(parser.finish()).toBe(false);
    parser.push(Buffer.from('length 4\r\n\r\nabc'));
    expect(parser.finish()).toBe(false);
  });

  it.each([
    ['a chunk without a length', '\r\n'],
    ['a length with a sign', '+1\r\na\r\n'],
    ['a length with 0x', '0x1\r\na\r\n'],
    ['a length of fourteen digits', '00000000000001\r\na\r\n'],
    ['a chunk that is longer than its length', '1\r\nab\r\n'],
    ['a bare LF behind a length', '1\na\r\n'],
    ['a LF in an extension', '1;a\nb\r\na\r\n'],
    ['an extension without end', `1;${'a'.repeat(300)}`],
    ['trailers that are too long', `0\r\n${'A: b\r\n'.repeat(30)}\r\n`],
    ['a trailer that is no field', '0\r\nA\r\n\r\n'],
  ])('The parser refuses %s', (_name, body) => {
    expect(() => read(`chunked\r\n\r\n${body}`)).toThrow(Http1Error);
  });

  it('The parser refuses a head that is too long before its end has come', () => {
    expect(() => read('a'.repeat(104))).toThrow('over 100 bytes');
    expect(() => read(`none\r\n${'a'.repeat(104)}`, [50])).toThrow('over 100 bytes');
    const longest = `none ${'a'.repeat(95)}\r\n\r\n`;
    expect(read(longest, [longest.length - 1])).toHaveLength(2);
  });

  it('The parser answers random bytes with messages or a typed error', () => {
    const parts = fc.oneof(
      fc.constantFrom(
        '\r\n',
        '\r\n\r\n',
        'chunked',
        'length 3',
        'none',
        'raw',
        ':',
        '0',
        '5',
        ';',
        '\n',
      ),
      fc.string({ unit: 'binary-ascii', maxLength: 8 }),
    );
    fc.assert(
      fc.property(fc.array(parts, { maxLength: 30 }), fc.array(fc.nat(100)), (texts, cuts) => {
        const outcome = (places: readonly number[]): unknown => {
          try {
            return read(`chunked\r\n\r\n${texts.join('')}`, places);
          } catch (thrown) {
            if (!(thrown instanceof Http1Error)) throw thrown;
            return thrown.message;
          }
        };
        const text = `chunked\r\n\r\n${texts.join('')}`;
        expect(outcome(cuts.map((cut) => cut % text.length))).toEqual(outcome([]));
      }),
      { numRuns: 2_000 },
    );
  });
});
