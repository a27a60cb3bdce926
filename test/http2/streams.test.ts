import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeHeaders } from '../../src/http2/hpack-encoder.ts';
import type { Http2ServerStream } from '../../src/http2/server-stream.ts';
import {
  clientPreface,
  data,
  frame,
  frameFlags,
  frameTypes,
  headers,
  reset,
  settingIds,
  settings,
  windowUpdate,
} from '../../testkit/http2/frames.ts';
import {
  addedField,
  indexedField,
  plainField,
  requestHead,
} from '../../testkit/http2/hpack-bytes.ts';
import {
  ScriptedConnection,
  type ScriptedConnectionOptions,
  type ScriptedRequest,
} from '../../testkit/http2/scripted-connection.ts';

const { endStream, endHeaders } = frameFlags;
const okHead = encodeHeaders([{ name: ':status', value: '200' }]);
const earlyHints = encodeHeaders([{ name: ':status', value: '103' }]);
const sum = encodeHeaders([{ name: 'x-sum', value: '7' }]);
const protocolError = 0x1;
const refused = 0x7;
const calm = 0xb;

const get = (...more: readonly Buffer[]): Buffer => requestHead('GET', '/a', ...more);

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');

function ready(options: ScriptedConnectionOptions = {}): ScriptedConnection {
  return ScriptedConnection.ready(options);
}

function opened(
  scripted: ScriptedConnection,
  { stream = 1, head = get(), isEnd = false } = {},
): ScriptedRequest {
  scripted.push(headers(stream, head, isEnd ? endStream : 0));
  return scripted.requests.at(-1)!;
}

/** The code with which the server resets a stream with this head. */
function resetCodeOf(head: Buffer, options: ScriptedConnectionOptions = {}, flags = endStream) {
  const scripted = ready(options);
  scripted.push(headers(1, head, flags));
  expect(scripted.requests).toEqual([]);
  const [frameOfReset, ...more] = scripted.read();
  expect(more).toEqual([]);
  expect(frameOfReset).toMatchObject({ type: frameTypes.reset, stream: 1 });
  return frameOfReset!.payload.readUInt32BE();
}

/** Type, flags and length of each frame that the client reads now. */
function shapes(scripted: ScriptedConnection): number[][] {
  return scripted.read().map(({ type, flags, payload }) => [type, flags, payload.length]);
}

describe('The head of a request over HTTP/2', () => {
  it('Extended CONNECT is announced by a server that wants it, as its last setting', () => {
    const scripted = new ScriptedConnection({ allowsExtendedConnect: true });
    const [first] = scripted.read();
    expect(first!.payload.subarray(-6)).toEqual(hex('0008 00000001'));
  });

  const connectHead = (protocol: readonly Buffer[], ...fields: readonly Buffer[]) =>
    Buffer.concat([plainField(':method', 'CONNECT'), ...protocol, ...fields]);
  const protocol = [plainField(':protocol', 'websocket')];
  const scheme = indexedField(7);
  const path = plainField(':path', '/a');
  const authority = plainField(':authority', 'a');

  it('An extended CONNECT has its protocol, if it was announced', () => {
    const head = connectHead(protocol, scheme, path, authority);
    const { head: read } = opened(ready({ allowsExtendedConnect: true }), { head });
    expect(read).toMatchObject({ method: 'CONNECT', protocol: 'websocket', path: '/a' });
    expect(resetCodeOf(head)).toBe(protocolError);
  });

  it('A CONNECT has an authority alone', () => {
    const { head } = opened(ready(), { head: connectHead([], authority) });
    expect(head).toMatchObject({ method: 'CONNECT', path: '', authority: 'a' });
  });

  it.each([
    ['CONNECT with a path', connectHead([], authority, scheme, path)],
    ['CONNECT with a protocol and no path', connectHead(protocol, scheme, authority)],
    ['CONNECT with a protocol and no authority', connectHead(protocol, scheme, path)],
    ['GET with a protocol', get(...protocol, authority)],
    ['a second path', get(path)],
    ['a pseudo field behind others', get(plainField('a', 'b'), authority)],
    ['an unknown pseudo field', get(plainField(':a', 'b'))],
    ['an empty path', Buffer.concat([indexedField(2), scheme, plainField(':path', '')])],
    ['no method', Buffer.concat([scheme, path])],
    ['no scheme', Buffer.concat([indexedField(2), path])],
    ['a method with a space', Buffer.concat([plainField(':method', 'A B'), scheme, path])],
    ['a name in upper case', get(plainField('A', 'b'))],
    ['a name with a colon', get(plainField('a:b', 'c'))],
    ['an empty name', get(plainField('', 'b'))],
    ['a line end in a value', get(plainField('a', 'b\r\nc: d'))],
    ['a control character in a value', get(plainField('a', 'b\x01'))],
    ['a space before a value', get(plainField('a', ' b'))],
    ['a tab behind a value', get(plainField('a', 'b\t'))],
    ['a line end in the path', get(plainField(':authority', 'a\nb'))],
    ['Connection', get(plainField('connection', 'close'))],
    ['Transfer-Encoding', get(plainField('transfer-encoding', 'chunked'))],
    ['TE: gzip', get(plainField('te', 'gzip'))],
    ['two lengths', get(plainField('content-length', '0'), plainField('content-length', '0'))],
    ['a length that is no number', get(plainField('content-length', '1a'))],
    ['a length and no body', get(plainField('content-length', '1'))],
  ])('A head with %s is malformed', (_, head) => {
    expect(resetCodeOf(head, { allowsExtendedConnect: true })).toBe(protocolError);
  });

  it('Fields keep their order, their repetitions and their bytes', () => {
    const fields = [plainField('b', '1\xe9'), plainField('a', ''), plainField('b', '2')];
    const { head } = opened(ready(), { head: get(...fields) });
    expect(head.fields.map(({ name, value }) => [name, value])).toEqual([
      ['b', '1\xe9'],
      ['a', ''],
      ['b', '2'],
    ]);
  });
});

describe('The body of a request over HTTP/2', () => {
  it('Trailers arrive with their values', () => {
    const scripted = ready();
    const request = opened(scripted);
    scripted.push(data(1, Buffer.from('a')), headers(1, plainField('x-sum', '7'), endStream));
    expect(request.events).toEqual(['data', 'end']);
    expect(request.trailers).toEqual([{ name: 'x-sum', value: '7' }]);
  });

  it('Trailers stay as they are when the memory of their bytes is used again', () => {
    const scripted = ready();
    const [first, second] = [1, 3].map((stream) => opened(scripted, { stream }));
    const memory = Buffer.alloc(100);
    const end = (stream: number, name: string, value: string): void => {
      const bytes = headers(stream, addedField(name, value), endStream);
      memory.set(bytes);
      scripted.push(memory.subarray(0, bytes.length));
    };
    end(1, 'x-sum', '7');
    end(3, 'x-one', '8');
    memory.fill(0);
    expect(first!.trailers).toEqual([{ name: 'x-sum', value: '7' }]);
    expect(second!.trailers).toEqual([{ name: 'x-one', value: '8' }]);
  });

  it('A stream that goes on after its answer holds no window of the connection when it has ended', () => {
    const scripted = ready({ limits: { windowBytes: 16 * 1024, maxHeldBytes: 0 } });
    const { stream } = opened(scripted);
    stream.pause();
    stream.respond(okHead);
    stream.end(undefined, { keepsReading: true });
    scripted.read();
    scripted.push(data(1, Buffer.alloc(10), endStream));
    expect(scripted.requests[0]!.isClosed).toBe(true);
    opened(scripted, { stream: 3 });
    for (let count = 0; count < 4; count++) scripted.push(data(3, Buffer.alloc(10_000)));
    expect(scripted.read().map((update) => update.stream)).toContain(0);
  });

  const ofThree = { head: get(plainField('content-length', '3')) };

  it('A body as long as announced arrives', () => {
    const scripted = ready();
    const request = opened(scripted, ofThree);
    scripted.push(data(1, Buffer.from('abc')), data(1, Buffer.alloc(0), endStream));
    expect(request.events).toEqual(['data', 'end']);
    expect(request.receivedBytes).toBe(3);
  });

  it('A body that is longer than announced is reset before its service sees the rest', () => {
    const scripted = ready();
    const request = opened(scripted, ofThree);
    scripted.push(data(1, Buffer.from('ab')), data(1, Buffer.from('cd')));
    expect(request.receivedBytes).toBe(2);
    expect(scripted.read().at(-1)).toMatchObject({
      type: frameTypes.reset,
      payload: hex('00000001'),
    });
    expect(request.isComplete).toBe(false);
    scripted.push(data(1, Buffer.from('e')));
    expect(scripted.failed).toBeUndefined();
  });

  it('A body that is shorter than announced is reset, and never looks complete', () => {
    const scripted = ready();
    const request = opened(scripted, ofThree);
    scripted.push(data(1, Buffer.from('ab'), endStream));
    scripted.read();
    expect(request.events).toEqual(['data', 'close']);
  });

  it('A connection is in a head from the first byte of a frame to the last of its block', () => {
    const scripted = ready();
    const bytes = Buffer.concat([
      frame(frameTypes.headers, 0, 1, get()),
      frame(frameTypes.continuation, endHeaders, 1),
    ]);
    const seen = Array.from(bytes, (_, at) => {
      scripted.push(bytes.subarray(at, at + 1));
      return scripted.connection.isInHead;
    });
    expect(seen.indexOf(false)).toBe(bytes.length - 1);
    // DATA is no head.
    scripted.push(data(1, Buffer.alloc(5)).subarray(0, 10));
    expect(scripted.connection.isInHead).toBe(false);
  });
});

describe('The answer of an HTTP/2 server', () => {
  it('A small answer is in the output as soon as it is written, without waiting for a pull', () => {
    const scripted = ready();
    const { stream } = opened(scripted, { isEnd: true });
    stream.respond(okHead);
    stream.sendCopy(Buffer.from('hello'));
    stream.end();
    expect(scripted.unreadBytes).toBe(9 + 1 + 9 + 5 + 9);
    expect(shapes(scripted)).toEqual([
      [frameTypes.headers, endHeaders, 1],
      [frameTypes.data, 0, 5],
      [frameTypes.data, endStream, 0],
    ]);
    expect(scripted.requests[0]).toMatchObject({ isClosed: true, isComplete: true });
  });

  it('A client with a small HPACK table learns once that the server does not use it', () => {
    const scripted = ready();
    const answerTo = (stream: number): string => {
      opened(scripted, { stream, isEnd: true }).stream.answer(okHead);
      return scripted.read().at(-1)!.payload.toString('hex');
    };
    expect(answerTo(1)).toBe('88');
    scripted.push(settings([[settingIds.headerTableSize, 4096]]));
    expect(answerTo(3)).toBe('88');
    scripted.push(settings([[settingIds.headerTableSize, 100]]));
    scripted.push(settings([[settingIds.headerTableSize, 8192]]));
    expect(answerTo(5)).toBe('2088');
    scripted.push(settings([[settingIds.headerTableSize, 0]]));
    expect(answerTo(7)).toBe('88');
  });

  it('An answer is complete when its last byte has left the process', () => {
    const scripted = ready();
    const request = opened(scripted, { isEnd: true });
    request.stream.answer(okHead);
    expect(request.isComplete).toBeUndefined();
    expect(shapes(scripted)).toEqual([[frameTypes.headers, endHeaders | endStream, 1]]);
    expect(request.isComplete).toBe(true);
  });

  it('An answer whose client resets it, or whose connection ends, is not complete', () => {
    const scripted = ready();
    const first = opened(scripted, { isEnd: true });
    const second = opened(scripted, { isEnd: true, stream: 3 });
    for (const { stream } of [first, second]) {
      stream.respond(okHead);
      stream.end();
    }
    scripted.push(reset(1));
    expect(first.isComplete).toBe(false);
    scripted.connection.destroy();
    expect(second.isComplete).toBe(false);
  });

  it('Informational heads come before the head, and none comes after it', () => {
    const scripted = ready();
    const { stream } = opened(scripted, { isEnd: true });
    stream.inform(earlyHints);
    stream.inform(earlyHints);
    stream.respond(okHead);
    stream.inform(earlyHints);
    const { length } = earlyHints;
    expect(shapes(scripted)).toEqual([
      [frameTypes.headers, endHeaders, length],
      [frameTypes.headers, endHeaders, length],
      [frameTypes.headers, endHeaders, 1],
    ]);
  });

  it('A client that does not read gets no informational heads', () => {
    const scripted = ready({ limits: { maxQueuedBytes: Infinity } });
    const { stream } = opened(scripted, { isEnd: true });
    const large = encodeHeaders([
      { name: ':status', value: '103' },
      { name: 'a', value: 'b'.repeat(60_000) },
    ]);
    for (let times = 0; times < 100; times++) stream.inform(large);
    expect(scripted.unreadBytes).toBeLessThan(256 * 1024 + 2 * large.length);
  });

  it('Copied bytes wait for windows, and the last frame of a queue ends the stream', () => {
    const scripted = ready();
    scripted.push(settings([[settingIds.initialWindowSize, 4]]));
    scripted.read();
    const { stream } = opened(scripted, { isEnd: true });
    stream.respond(okHead);
    const borrowed = Buffer.from('abcdef');
    stream.sendCopy(borrowed);
    borrowed.fill(0);
    stream.sendCopy(Buffer.from('gh'));
    stream.end();
    expect(stream.queuedBytes).toBe(8);
    expect(shapes(scripted).slice(1)).toEqual([[frameTypes.data, 0, 4]]);
    expect(stream.queuedBytes).toBe(4);
    scripted.push(windowUpdate(1, 100));
    expect(shapes(scripted)).toEqual([[frameTypes.data, endStream, 4]]);
    const sent = scripted.frames.filter(({ type }) => type === frameTypes.data);
    expect(Buffer.concat(sent.map(({ payload }) => payload)).toString()).toBe('abcdefgh');
    expect(scripted.requests[0]!.isComplete).toBe(true);
  });

  it('Trailers come behind copied bytes that had to wait', () => {
    const scripted = ready();
    scripted.push(settings([[settingIds.initialWindowSize, 1]]));
    scripted.read();
    const { stream } = opened(scripted, { isEnd: true });
    stream.respond(okHead);
    stream.sendCopy(Buffer.from('ab'));
    stream.end(sum);
    scripted.read();
    scripted.push(windowUpdate(1, 1));
    expect(shapes(scripted)).toEqual([
      [frameTypes.data, 0, 1],
      [frameTypes.headers, endHeaders | endStream, sum.length],
    ]);
  });

  it('Copied bytes do not overtake a stream that waits for its turn', () => {
    const streams: Http2ServerStream[] = [];
    const scripted = ready({
      onRequest: (stream) => {
        streams.push(stream);
        stream.respond(okHead);
        const onData = (bytes: Uint8Array): void => stream.sendCopy(bytes);
        return { onData, onEnd: () => {}, onSent: () => {}, onClose: () => {} };
      },
    });
    scripted.push(settings([[settingIds.initialWindowSize, 100_000]]));
    scripted.push(headers(1, get()), headers(3, get()));
    // More than the window of the connection.
    streams[0]!.sendCopy(Buffer.alloc(70_000));
    scripted.read();
    scripted.push(windowUpdate(0, 100_000), data(3, Buffer.from('late')));
    expect(scripted.read().map(({ stream, payload }) => [stream, payload.length])).toEqual([
      [1, 70_000 - 65_535],
      [3, 4],
    ]);
  });

  it('Copied bytes wait in their queue while the output is full', () => {
    const scripted = ready();
    const mib = 1024 * 1024;
    scripted.push(settings([[settingIds.initialWindowSize, mib]]), windowUpdate(0, mib));
    scripted.read();
    const { stream } = opened(scripted, { isEnd: true });
    stream.respond(okHead);
    stream.sendCopy(Buffer.alloc(mib));
    expect(scripted.unreadBytes).toBeGreaterThan(200 * 1024);
    expect(scripted.unreadBytes).toBeLessThan(300 * 1024);
    expect(stream.queuedBytes).toBe(mib);
    scripted.read();
    expect(stream.queuedBytes).toBe(0);
  });

  it('A client receives borrowed bytes in order within its windows, whatever the windows are', () => {
    const pieces = fc.array(fc.integer({ min: 0, max: 40_000 }), { minLength: 1, maxLength: 8 });
    const windows = fc.integer({ min: 1000, max: 100_000 });
    fc.assert(
      fc.property(pieces, windows, fc.boolean(), (sizes, windowBytes, hasTrailers) => {
        const scripted = new ScriptedConnection();
        scripted.push(clientPreface, settings([[settingIds.initialWindowSize, windowBytes]]));
        scripted.read();
        const request = opened(scripted, { isEnd: true });
        const { stream } = request;
        stream.respond(okHead);
        let next = 0;
        const expected: number[] = [];
        for (const size of sizes) {
          const borrowed = Buffer.alloc(size);
          for (let at = 0; at < size; at++) expected.push((borrowed[at] = next++ % 251));
          stream.sendCopy(borrowed);
          borrowed.fill(255);
        }
        stream.end(hasTrailers ? sum : undefined);
        const received: Buffer[] = [];
        while (!request.isClosed) {
          let bytes = 0;
          for (const { type, payload } of scripted.read()) {
            if (type !== frameTypes.data) continue;
            received.push(payload);
            bytes += payload.length;
          }
          expect(bytes).toBeLessThanOrEqual(Math.min(windowBytes, 65_535));
          if (bytes > 0) scripted.push(windowUpdate(1, bytes), windowUpdate(0, bytes));
        }
        expect(Buffer.concat(received).equals(Buffer.from(expected))).toBe(true);
        expect(request.isComplete).toBe(true);
      }),
      { numRuns: 50 },
    );
  });
});

describe('A stream whose client goes on after the answer', () => {
  function answered(): { scripted: ScriptedConnection; request: ScriptedRequest } {
    const scripted = ready({ limits: { windowBytes: 100 } });
    const request = opened(scripted);
    request.stream.respond(okHead);
    request.stream.end(undefined, { keepsReading: true });
    expect(shapes(scripted).at(-1)).toEqual([frameTypes.data, endStream, 0]);
    expect(request.isClosed).toBe(false);
    return { scripted, request };
  }

  it('It gets the bytes and the end of its client, and is complete then', () => {
    const { scripted, request } = answered();
    scripted.push(data(1, Buffer.alloc(60)));
    expect(shapes(scripted)).toEqual([[frameTypes.windowUpdate, 0, 4]]);
    scripted.push(data(1, Buffer.alloc(60), endStream));
    expect(request.receivedBytes).toBe(120);
    expect(request.events.slice(-2)).toEqual(['end', 'close']);
    expect(request.isComplete).toBe(true);
    expect(scripted.connection.isInHead).toBe(false);
  });

  it('It is not complete when its client resets it', () => {
    const { scripted, request } = answered();
    scripted.push(reset(1));
    expect(request.isComplete).toBe(false);
  });
});

describe('The limits of an HTTP/2 connection on its streams', () => {
  it('A connection with one refused stream too many ends with ENHANCE_YOUR_CALM', () => {
    const scripted = ready({ limits: { maxStreams: 1, maxRefusedStreams: 2 } });
    for (const stream of [1, 3, 5]) scripted.push(headers(stream, get()));
    expect(scripted.failed).toBeUndefined();
    const codes = scripted.read().map(({ payload }) => payload.readUInt32BE());
    expect(codes).toEqual([refused, refused]);
    scripted.push(headers(7, get()));
    expect(scripted.failed?.code).toBe('ENHANCE_YOUR_CALM');
  });

  it('A head that is too long counts as refused, and a malformed head does not', () => {
    const scripted = ready({ limits: { maxHeaderListBytes: 300, maxRefusedStreams: 1 } });
    for (const stream of [1, 3, 5]) scripted.push(headers(stream, get(plainField('A', 'b'))));
    const long = get(plainField('a', 'b'.repeat(300)));
    scripted.push(headers(7, long));
    expect(scripted.read().map(({ payload }) => payload.readUInt32BE())).toEqual([
      ...[protocolError, protocolError, protocolError, calm],
    ]);
    scripted.push(headers(9, long));
    expect(scripted.failed?.code).toBe('ENHANCE_YOUR_CALM');
  });

  it('Streams are refused while too many bytes of answers wait for the client', () => {
    const scripted = ready({ limits: { maxUnsentBytes: 1000 } });
    scripted.push(settings([[settingIds.initialWindowSize, 0]]));
    scripted.read();
    const first = opened(scripted, { isEnd: true }).stream;
    first.respond(okHead);
    first.sendCopy(Buffer.alloc(1001));
    scripted.read();
    scripted.push(headers(3, get(), endStream));
    expect(scripted.read()[0]).toMatchObject({ type: frameTypes.reset, stream: 3 });
    scripted.push(windowUpdate(1, 1));
    scripted.push(headers(5, get(), endStream));
    expect(scripted.requests).toHaveLength(2);
    first.reset('CANCEL');
    const second = scripted.requests[1]!.stream;
    second.sendCopy(Buffer.alloc(1000));
    scripted.push(headers(7, get(), endStream));
    expect(scripted.requests).toHaveLength(3);
  });

  it('Bodies of requests that were answered without being read hold nothing up', () => {
    const bodyBytes = 10_000;
    const scripted = ready({ limits: { windowBytes: 16_384, maxHeldBytes: 2 * bodyBytes } });
    let windowBytes = 65_535 + 1;
    for (let stream = 1; stream < 100; stream += 2) {
      const request = opened(scripted, { stream });
      request.stream.pause();
      windowBytes -= bodyBytes;
      expect(windowBytes).toBeGreaterThan(0);
      scripted.push(data(stream, Buffer.alloc(bodyBytes)));
      request.stream.answer(okHead);
      for (const { type, stream: of, payload } of scripted.read()) {
        if (type === frameTypes.windowUpdate && of === 0) windowBytes += payload.readUInt32BE();
      }
    }
  });

  it('A drain need not wait for a client that does not answer', () => {
    const scripted = ready();
    const request = opened(scripted, { isEnd: true });
    scripted.connection.shutdown();
    scripted.connection.finishShutdown();
    scripted.connection.finishShutdown();
    const last = scripted.read().filter(({ type }) => type === frameTypes.goaway);
    expect(last.map(({ payload }) => payload.readUInt32BE())).toEqual([0x7fff_ffff, 1]);
    scripted.push(headers(3, get(), endStream));
    expect(scripted.requests).toHaveLength(1);
    expect(scripted.isDrained).toBe(false);
    request.stream.answer(okHead);
    scripted.read();
    expect(scripted.isDrained).toBe(true);
  });
});
