import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OwnerOfBytes } from '../../src/base/net/send-queue.ts';
import { encodeHeaders } from '../../src/http2/hpack-encoder.ts';
import type { Http2ServerStream } from '../../src/http2/server-stream.ts';
import {
  clientPreface,
  data,
  frame,
  frameFlags,
  frameTypes,
  headers,
  ping,
  reset,
  settingIds,
  settings,
  windowUpdate,
} from '../../testkit/http2/frames.ts';
import { requestHead } from '../../testkit/http2/hpack-bytes.ts';
import { ScriptedConnection } from '../../testkit/http2/scripted-connection.ts';

const request = requestHead('POST', '/a');
const okHead = encodeHeaders([{ name: ':status', value: '200' }]);
const trailers = encodeHeaders([{ name: 'grpc-status', value: '0' }]);

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

/** The bytes of the frames that the server has sent. */
function sent(scripted: ScriptedConnection): Buffer {
  const frames = scripted.read();
  return Buffer.concat(
    frames.map(({ type, flags, stream, payload }) => frame(type, flags, stream, payload)),
  );
}

/** Opens stream 1. */
function opened(scripted: ScriptedConnection): Http2ServerStream {
  scripted.push(headers(1, request));
  return scripted.requests[0]!.stream;
}

describe('The frames of an HTTP/2 server', () => {
  it('A server begins with its SETTINGS and the window of the connection', () => {
    const scripted = new ScriptedConnection();
    expect(sent(scripted)).toEqual(
      hex(
        '00001e 04 00 00000000 0001 00001000 0003 00001000 0004 00100000 0005 00004000 0006 00008000' +
          '000004 08 00 00000000 003f0001',
      ),
    );
  });

  it('A server answers SETTINGS and PING', () => {
    const scripted = new ScriptedConnection();
    scripted.read();
    scripted.push(clientPreface, settings(), ping(hex('0102030405060708')));
    expect(sent(scripted)).toEqual(
      hex('000000 04 01 00000000 000008 06 01 00000000 0102030405060708'),
    );
  });

  it('A server asks with one PING at a time whether its client has read everything', () => {
    const scripted = ScriptedConnection.ready();
    const answered: string[] = [];
    const askAs = (name: string) => scripted.connection.roundTrip(() => answered.push(name));
    askAs('first');
    askAs('second');
    const pingOfOurs = hex('000008 06 00 00000000 7265636569766564');
    const answer = hex('000008 06 01 00000000 7265636569766564');
    expect(sent(scripted)).toEqual(pingOfOurs);
    scripted.push(answer);
    expect(answered).toEqual(['first']);
    expect(sent(scripted)).toEqual(pingOfOurs);
    scripted.push(answer, answer);
    expect(answered).toEqual(['first', 'second']);
    expect(sent(scripted)).toEqual(Buffer.alloc(0));
  });

  it('A server answers a request with a head, DATA and trailers', () => {
    const scripted = ScriptedConnection.ready();
    scripted.push(headers(1, request, frameFlags.endStream));
    const { stream } = scripted.requests[0]!;
    stream.respond(okHead);
    stream.send(Buffer.from('hello'));
    stream.end(trailers);
    expect(sent(scripted)).toEqual(
      Buffer.concat([
        hex('000001 01 04 00000001 88'),
        hex('000005 00 00 00000001 68656c6c6f'),
        headers(1, trailers, frameFlags.endStream),
      ]),
    );
    expect(scripted.requests[0]!.isClosed).toBe(true);
  });

  it('A server that answers before the request is complete asks for no more of it', () => {
    const scripted = ScriptedConnection.ready();
    const stream = opened(scripted);
    stream.respond(okHead);
    stream.end(trailers);
    const frames = scripted.read();
    expect(frames.at(-1)).toMatchObject({ type: frameTypes.reset, payload: hex('00000000') });
    scripted.push(data(1, Buffer.from('late')), reset(1));
    expect(scripted.requests[0]!.events).toEqual(['close']);
    expect(scripted.failed).toBeUndefined();
    expect(sent(scripted)).toHaveLength(0);
  });

  it('A server that resets a stream sends the code and tells the handler later', () => {
    const scripted = ScriptedConnection.ready();
    const stream = opened(scripted);
    stream.reset('CANCEL');
    stream.reset('CANCEL');
    expect(scripted.requests[0]!.events).toEqual([]);
    expect(sent(scripted)).toEqual(hex('000004 03 00 00000001 00000008'));
    expect(scripted.requests[0]!.events).toEqual(['close']);
  });

  it('A server that refuses the bytes of a client says why with GOAWAY', () => {
    const scripted = ScriptedConnection.ready();
    scripted.push(frame(frameTypes.ping, 0, 0, hex('00')));
    const [goAway] = scripted.read();
    expect(goAway).toMatchObject({ type: frameTypes.goaway, stream: 0 });
    expect(goAway!.payload.subarray(0, 8)).toEqual(hex('00000000 00000006'));
    expect(goAway!.payload.subarray(8).toString()).toBe('PING has 1 bytes');
    expect(scripted.failed?.code).toBe('FRAME_SIZE_ERROR');
  });

  it('A server cuts a large head into HEADERS and CONTINUATION', () => {
    const scripted = ScriptedConnection.ready();
    const stream = opened(scripted);
    const block = encodeHeaders([{ name: 'x', value: 'y'.repeat(40_000) }]);
    stream.respond(block);
    const frames = scripted.read();
    expect(frames.map(({ type, flags }) => [type, flags])).toEqual([
      [frameTypes.headers, 0],
      [frameTypes.continuation, 0],
      [frameTypes.continuation, frameFlags.endHeaders],
    ]);
    expect(Buffer.concat(frames.map(({ payload }) => payload))).toEqual(Buffer.from(block));
  });
});

describe('The requests of an HTTP/2 client', () => {
  const conversation = Buffer.concat([
    clientPreface,
    settings([[settingIds.initialWindowSize, 100]]),
    // Cut in the middle, with padding and a priority.
    frame(
      frameTypes.headers,
      frameFlags.padded | frameFlags.priority,
      1,
      Buffer.concat([hex('02 00000000 10'), request.subarray(0, 2), hex('0000')]),
    ),
    frame(frameTypes.continuation, frameFlags.endHeaders, 1, request.subarray(2)),
    data(1, Buffer.from('first ')),
    data(1, Buffer.concat([hex('03'), Buffer.from('second '), hex('000000')]), frameFlags.padded),
    ping(),
    frame(0x77, 0xff, 9, Buffer.from('unknown')),
    data(1, Buffer.concat([hex('00'), Buffer.from('third')]), frameFlags.padded),
    headers(1, trailers, frameFlags.endStream),
  ]);

  /** What the server sees and says when the client's bytes come in these pieces. */
  function outcomeOf(pieces: readonly Uint8Array[]) {
    const received: Buffer[] = [];
    const events: string[] = [];
    const scripted = new ScriptedConnection({
      onRequest: (stream, head) => {
        events.push(`${head.method} ${head.path}`);
        return {
          onData: (bytes) => void received.push(Buffer.from(bytes)),
          onEnd: () => {
            events.push('end');
            stream.respond(okHead);
            stream.send(Buffer.alloc(150, 7));
          },
          onSent: () => {},
          onClose: () => {},
        };
      },
    });
    // The memory is used again, as the memory of a socket is.
    const memory = Buffer.alloc(conversation.length);
    for (const piece of pieces) {
      memory.set(piece);
      scripted.push(memory.subarray(0, piece.length));
      memory.fill(0xee);
    }
    return {
      events,
      received: Buffer.concat(received).toString(),
      failed: scripted.failed,
      sent: sent(scripted).toString('hex'),
    };
  }

  const whole = outcomeOf([conversation]);

  it('A request arrives with its body, without padding, and ends with its trailers', () => {
    expect(whole).toMatchObject({
      events: ['POST /a', 'end'],
      received: 'first second third',
      failed: undefined,
    });
    // As much DATA as the client's window allows.
    expect(whole.sent.endsWith('07'.repeat(100))).toBe(true);
    expect(whole.sent.endsWith('07'.repeat(101))).toBe(false);
  });

  it('A request is the same wherever its bytes are cut', () => {
    for (let at = 1; at < conversation.length; at++) {
      expect(outcomeOf([conversation.subarray(0, at), conversation.subarray(at)])).toEqual(whole);
    }
  });

  it('A request is the same when every byte comes alone', () => {
    expect(outcomeOf(Array.from(conversation, (byte) => Uint8Array.of(byte)))).toEqual(whole);
  });

  it.each(['/run/konnectivity/proxy.sock', '%2Frun%2Fproxy.sock', '', 'localhost'])(
    'A request with the authority "%s" is accepted',
    (value) => {
      const scripted = ScriptedConnection.ready();
      const block = encodeHeaders([
        { name: ':method', value: 'POST' },
        { name: ':scheme', value: 'http' },
        { name: ':path', value: '/a' },
        { name: ':authority', value },
      ]);
      scripted.push(headers(1, block));
      expect(scripted.requests[0]!.head.authority).toBe(value);
    },
  );

  it.each([
    [
      'no path',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
      ],
    ],
    [
      'two paths',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', '/'],
        [':path', '/'],
      ],
    ],
    [
      'an unknown pseudo-header',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', '/'],
        [':x', ''],
      ],
    ],
    [
      'a pseudo-header behind others',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
        ['a', ''],
        [':path', '/'],
      ],
    ],
    [
      'upper case in a name',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', '/'],
        ['A', ''],
      ],
    ],
    [
      'a field of HTTP/1',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', '/'],
        ['connection', 'x'],
      ],
    ],
    [
      'a line break in a value',
      [
        [':method', 'POST'],
        [':scheme', 'http'],
        [':path', '/'],
        ['a', 'b\r\nc'],
      ],
    ],
  ])('A request with %s is reset, and the connection continues', (_, fields) => {
    const scripted = ScriptedConnection.ready();
    scripted.push(
      headers(1, encodeHeaders(fields.map(([name = '', value = '']) => ({ name, value })))),
    );
    expect(sent(scripted)).toEqual(reset(1, 0x1));
    scripted.push(headers(3, request));
    expect(scripted.requests).toHaveLength(1);
  });

  it.each([
    ['less', 'abc'],
    ['more', 'abcde'],
  ])('A request with %s content than its content-length is reset', (_, content) => {
    const scripted = ScriptedConnection.ready();
    const length = encodeHeaders([{ name: 'content-length', value: '4' }]);
    scripted.push(headers(1, Buffer.concat([request, length])));
    scripted.push(data(1, Buffer.from(content), frameFlags.endStream));
    expect(sent(scripted)).toEqual(reset(1, 0x1));
  });
});

describe('The windows of an HTTP/2 connection', () => {
  const windowBytes = 100_000;
  const limits = { windowBytes };

  it('A window is given back as the reader takes bytes, in few frames', () => {
    const scripted = ScriptedConnection.ready({ limits });
    opened(scripted);
    for (let count = 0; count < 8; count++) scripted.push(data(1, Buffer.alloc(10_000)));
    expect(sent(scripted)).toEqual(windowUpdate(1, 50_000));
  });

  it('A paused stream gives no window back before it is resumed', () => {
    const scripted = ScriptedConnection.ready({ limits });
    const stream = opened(scripted);
    stream.pause();
    for (let count = 0; count < 10; count++) scripted.push(data(1, Buffer.alloc(10_000)));
    expect(sent(scripted)).toHaveLength(0);
    stream.resume();
    expect(sent(scripted)).toEqual(windowUpdate(1, 100_000));
  });

  it('Paused streams do not use up the window of the connection', () => {
    const scripted = ScriptedConnection.ready({ limits });
    for (let id = 1; id < 20; id += 2) {
      scripted.push(headers(id, request));
      scripted.requests.at(-1)!.stream.pause();
      for (let count = 0; count < 10; count++) scripted.push(data(id, Buffer.alloc(10_000)));
    }
    const updates = scripted.read().filter(({ type }) => type === frameTypes.windowUpdate);
    const bytes = updates.map(({ payload }) => payload.readUInt32BE(0)).reduce((a, b) => a + b, 0);
    expect(updates.every(({ stream }) => stream === 0)).toBe(true);
    expect(bytes).toBeGreaterThanOrEqual(800_000);
  });

  it('A stream that is blocked by its window does not hold up the others', () => {
    const scripted = ScriptedConnection.ready();
    scripted.push(settings([[settingIds.initialWindowSize, 10]]));
    scripted.push(headers(1, request), headers(3, request), windowUpdate(3, 1000));
    for (const { stream } of scripted.requests) stream.send(Buffer.alloc(500));
    const frames = scripted.read().filter(({ type }) => type === frameTypes.data);
    expect(frames.map(({ stream, payload }) => [stream, payload.length])).toEqual([
      [1, 10],
      [3, 500],
    ]);
  });

  it('A client receives all bytes in order within its windows, whatever the windows are', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 0, max: 70_000 }),
        fc.array(fc.integer({ min: 1, max: 50_000 }), { maxLength: 30 }),
        (sizes, initialBytes, increments) => {
          const scripted = ScriptedConnection.ready();
          scripted.push(settings([[settingIds.initialWindowSize, initialBytes]]));
          scripted.read();
          const stream = opened(scripted);
          const pieces = sizes.map((size, index) => Buffer.alloc(size, index + 1));
          const whole = Buffer.concat(pieces);
          let released = 0;
          const owner: OwnerOfBytes = { onReleased: () => released++, onAbandoned: () => {} };
          for (const piece of pieces) stream.send(piece, owner);
          stream.end(trailers);
          const received: Buffer[] = [];
          let windowBytes = initialBytes;
          const receive = () => {
            for (const { type, payload } of scripted.read()) {
              if (type !== frameTypes.data) continue;
              expect(payload.length).toBeLessThanOrEqual(16_384);
              received.push(payload);
              windowBytes -= payload.length;
            }
            expect(windowBytes).toBeGreaterThanOrEqual(0);
          };
          receive();
          for (const increment of [...increments, whole.length]) {
            windowBytes += increment;
            scripted.push(windowUpdate(1, increment), windowUpdate(0, increment));
            receive();
          }
          scripted.push(windowUpdate(0, whole.length));
          receive();
          expect(Buffer.concat(received).equals(whole)).toBe(true);
          expect(released).toBe(pieces.length);
          expect(stream.queuedBytes).toBe(0);
          expect(stream.queuedPieces).toBe(0);
          expect(scripted.requests[0]!.events.at(-1)).toBe('close');
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('An HTTP/2 connection that drains', () => {
  it('A connection that drains takes streams until the client has learned of it, and loses none', () => {
    const scripted = ScriptedConnection.ready();
    opened(scripted);
    scripted.connection.shutdown();
    scripted.connection.shutdown();
    const [announced, question] = scripted.read();
    expect(announced!.payload.subarray(0, 8)).toEqual(hex('7fffffff 00000000'));
    // This stream was on its way.
    scripted.push(headers(3, request));
    expect(scripted.requests).toHaveLength(2);
    scripted.push(frame(frameTypes.ping, frameFlags.ack, 0, question!.payload));
    expect(scripted.read()[0]!.payload.subarray(0, 8)).toEqual(hex('00000003 00000000'));
    scripted.push(headers(5, request), data(5, Buffer.from('x')));
    expect(scripted.requests).toHaveLength(2);
    // An answer that comes twice changes nothing.
    scripted.push(frame(frameTypes.ping, frameFlags.ack, 0, question!.payload));
    expect(sent(scripted)).toHaveLength(0);
    expect(scripted.isDrained).toBe(false);
    scripted.push(reset(1), reset(3));
    expect(scripted.isDrained).toBe(true);
  });

  it('A connection without streams has drained as soon as the client has learned of it', () => {
    const scripted = ScriptedConnection.ready();
    scripted.connection.shutdown();
    const question = scripted.read()[1]!;
    expect(scripted.isDrained).toBe(false);
    scripted.push(frame(frameTypes.ping, frameFlags.ack, 0, question.payload));
    expect(scripted.isDrained).toBe(true);
  });
});
