import { describe, expect, it } from 'vitest';
import type { Http2ErrorCode } from '../../src/http2/http2-error.ts';
import { defaultHttp2Limits } from '../../src/http2/http2-limits.ts';
import {
  data,
  frame,
  frameFlags,
  frameTypes,
  goaway,
  headers,
  ping,
  reset,
  settingIds,
  settings,
  settingsAck,
  windowUpdate,
} from '../../testkit/http2/frames.ts';
import { addedField, callHead, indexedField, plainField } from '../../testkit/http2/hpack-bytes.ts';
import {
  ScriptedConnection,
  type ScriptedConnectionOptions,
} from '../../testkit/http2/scripted-connection.ts';

const mib = 1024 * 1024;
/** Small limits, so that floods are short. */
const limits = {
  ...defaultHttp2Limits,
  maxStreams: 200,
  resetBurst: 500,
  resetsPerSecond: 200,
  controlBurst: 500,
  controlsPerSecond: 100,
  maxQueuedBytes: 64 * 1024,
};
const { maxStreams, resetBurst, resetsPerSecond, controlBurst, controlsPerSecond } = limits;
const { maxQueuedBytes, windowBytes } = limits;
/** Far above every limit. */
const manyTimes = 20_000;
/** How often the client sends before it reads. */
const timesPerRead = 20;

/** A connection whose client has sent its preface. */
function ready(options: ScriptedConnectionOptions = {}): ScriptedConnection {
  return ScriptedConnection.ready({ ...options, limits: { ...limits, ...options.limits } });
}

const priority = (stream: number) =>
  frame(frameTypes.priority, 0, stream, Buffer.of(0, 0, 0, 0, 16));
const errorCodes = { protocol: 0x1, flowControl: 0x3, refused: 0x7, calm: 0xb } as const;

interface Flood {
  readonly connection: ScriptedConnection;
  /** How many times the client could send its frames. */
  readonly times: number;
}

/** Repeats the client's frames until the connection has failed. The client reads the answers. */
function flood(
  frames: (at: number) => Buffer,
  connection = ready(),
  { isReading = true } = {},
): Flood {
  for (let times = 1; times <= manyTimes; times++) {
    connection.push(frames(times - 1));
    if (connection.failed !== undefined) return { connection, times };
    if (isReading && times % timesPerRead === 0) connection.read();
  }
  return { connection, times: Infinity };
}

/** The flood ended with GOAWAY after so many times, because of a limit. */
function expectStopped(
  { connection, times }: Flood,
  mostTimes: number,
  code: Http2ErrorCode = 'ENHANCE_YOUR_CALM',
): void {
  expect(times).toBeLessThanOrEqual(mostTimes + 1);
  expect(connection.failed).toMatchObject({ name: 'Http2Error', scope: 'connection', code });
  const last = connection.read().at(-1);
  expect(last).toMatchObject({ type: frameTypes.goaway });
}

/** The id of the client's stream number `at`. */
const id = (at: number) => 2 * at + 1;

/** Every handler has its last event, once, and nothing is left of the client. */
function expectNothingLeft(connection: ScriptedConnection): void {
  connection.connection.destroy();
  expect(connection.openRequests).toEqual([]);
}

describe('A client of the HTTP/2 server', () => {
  describe('Streams that end at once', () => {
    it('A client that resets each call at once is disconnected (rapid reset, resetBurst)', () => {
      const attack = flood((at) => Buffer.concat([headers(id(at), callHead), reset(id(at))]));
      expectStopped(attack, resetBurst);
      expect(attack.connection.openRequests.length).toBeLessThanOrEqual(1);
      expectNothingLeft(attack.connection);
    });

    it('A client may reset calls for ever at the allowed rate (resetsPerSecond)', async () => {
      const connection = ready();
      for (let at = 0; at < 30; at++) {
        for (let times = 0; times < resetsPerSecond; times++) {
          const stream = id(at * resetsPerSecond + times);
          connection.push(headers(stream, callHead), reset(stream));
        }
        connection.read();
        await connection.clock.advance(1000);
      }
      expect(connection.failed).toBeUndefined();
    });

    it.each([
      ['a WINDOW_UPDATE of 0', (stream: number) => windowUpdate(stream, 0)],
      ['a window above 2^31 - 1', (stream: number) => windowUpdate(stream, 0x7fff_ffff)],
      [
        'DATA after its end',
        (stream: number) =>
          Buffer.concat([
            data(stream, Buffer.alloc(0), frameFlags.endStream),
            data(stream, Buffer.alloc(1)),
          ]),
      ],
      ['a second head', (stream: number) => headers(stream, callHead)],
      [
        'a PRIORITY of itself',
        (stream: number) =>
          frame(frameTypes.priority, 0, stream, Buffer.of(0, 0, stream >> 8, stream & 0xff, 0)),
      ],
    ])(
      'A client that makes the server reset each call with %s is disconnected (resetBurst)',
      (_, mistake) => {
        const attack = flood((at) => Buffer.concat([headers(id(at), callHead), mistake(id(at))]));
        expectStopped(attack, resetBurst);
        expectNothingLeft(attack.connection);
      },
    );

    it('A client that sends only malformed heads is disconnected (resetBurst)', () => {
      expectStopped(
        flood((at) => headers(id(at), Buffer.alloc(0))),
        resetBurst,
      );
    });

    it('A client that opens more calls than allowed has the others refused, and is disconnected (maxStreams, resetBurst)', () => {
      const attack = flood((at) => headers(id(at), callHead));
      expectStopped(attack, maxStreams + resetBurst);
      expect(attack.connection.requests).toHaveLength(maxStreams);
      expectNothingLeft(attack.connection);
    });

    it('A client that resets streams that have ended is disconnected (resetBurst)', () => {
      const connection = ready();
      connection.push(headers(1, callHead), reset(1));
      expectStopped(
        flood(() => reset(1), connection),
        resetBurst,
      );
    });
  });

  describe('Header blocks', () => {
    const begin = frame(frameTypes.headers, 0, 1, callHead);
    const continuation = (payload: Uint8Array) => frame(frameTypes.continuation, 0, 1, payload);

    it.each([
      ['empty', Buffer.alloc(0)],
      ['small', plainField('a', 'b')],
    ])(
      'A client that sends %s CONTINUATIONs without an end is disconnected (maxContinuations)',
      (_, payload) => {
        const connection = ready();
        connection.push(begin);
        expectStopped(
          flood(() => continuation(payload), connection),
          limits.maxContinuations,
        );
        expect(connection.requests).toEqual([]);
      },
    );

    it('A client that sends full CONTINUATIONs without an end is disconnected (maxHeaderBlockBytes)', () => {
      const connection = ready();
      connection.push(begin);
      const full = continuation(Buffer.alloc(16 * 1024));
      expectStopped(
        flood(() => full, connection),
        2,
      );
    });

    it('A head that is too large costs its client the call and not the connection (maxHeaderListBytes)', () => {
      const connection = ready();
      const bomb = Buffer.concat([callHead, addedField('bomb', 'x'.repeat(3000))]);
      connection.push(headers(1, bomb));
      expect(connection.requests).toHaveLength(1);
      const references = Buffer.alloc(1000, indexedField(62));
      connection.push(headers(3, Buffer.concat([callHead, references])));
      // The table is still right.
      connection.push(headers(5, Buffer.concat([callHead, indexedField(62)])));
      expect(connection.failed).toBeUndefined();
      expect(connection.requests.map(({ stream }) => stream.id)).toEqual([1, 5]);
      expect(connection.requests[1]!.head.fields.at(-1)).toMatchObject({ name: 'bomb' });
      const resets = connection.read().filter(({ type }) => type === frameTypes.reset);
      expect(resets.map(({ stream, payload }) => [stream, payload.readUInt32BE()])).toEqual([
        [3, errorCodes.calm],
      ]);
    });

    it('A client that sends only heads that are too large is disconnected (resetBurst)', () => {
      const bomb = Buffer.concat([callHead, addedField('bomb', 'x'.repeat(3000))]);
      const references = Buffer.concat([callHead, Buffer.alloc(20, indexedField(62))]);
      const connection = ready();
      connection.push(headers(1, bomb));
      expectStopped(
        flood((at) => headers(id(at + 1), references), connection),
        resetBurst,
      );
      expect(connection.requests).toHaveLength(1);
    });

    it('A malformed header block ends the connection', () => {
      const connection = ready();
      connection.push(headers(1, indexedField(0)));
      expect(connection.failed).toMatchObject({ code: 'COMPRESSION_ERROR' });
    });

    it.each([
      ['trailers', callHead],
      ['large trailers', Buffer.alloc(16_000, indexedField(2))],
    ])('A client that sends %s to a call that the server has reset is disconnected', (_, block) => {
      const connection = ready();
      connection.push(headers(1, callHead));
      connection.requests[0]!.stream.reset('CANCEL');
      connection.read();
      expectStopped(
        flood(() => headers(1, block), connection),
        controlBurst,
      );
    });
  });

  describe('Frames without effect', () => {
    it.each([
      ['PINGs', ping()],
      ['answers to PINGs', frame(frameTypes.ping, frameFlags.ack, 0, Buffer.alloc(8))],
      ['empty SETTINGS', settings()],
      ['acknowledgements of SETTINGS', settingsAck],
      ['PRIORITY', priority(1)],
      ['GOAWAY', goaway()],
      ['frames of unknown types', frame(0x77, 0, 0, Buffer.alloc(100))],
      ['DATA for a stream that has ended', data(1, Buffer.alloc(0))],
    ])('A client that sends only %s is disconnected (controlBurst)', (_, bytes) => {
      const connection = ready();
      connection.push(headers(1, callHead), reset(1));
      const attack = flood(() => bytes, connection);
      expectStopped(attack, controlBurst);
    });

    it.each([
      ['empty DATA', data(1, Buffer.alloc(0))],
      ['DATA of padding alone', data(1, Buffer.of(0), frameFlags.padded)],
    ])('A client that sends only %s in a call is disconnected (controlBurst)', (_, bytes) => {
      const connection = ready();
      connection.push(headers(1, callHead));
      expectStopped(
        flood(() => bytes, connection),
        controlBurst,
      );
      expectNothingLeft(connection);
    });

    it('A client that changes all windows with each SETTINGS is disconnected (controlBurst)', () => {
      const connection = ready();
      for (let at = 0; at < 100; at++) connection.push(headers(id(at), callHead));
      const change = (at: number) => settings([[settingIds.initialWindowSize, at % 2]]);
      expectStopped(flood(change, connection), controlBurst);
    });

    // Not limited, because grpc-go sends one with each PING that measures its bandwidth.
    it.each([
      ['the connection', 0],
      ['a call', 3],
      ['a call that has ended', 1],
    ])('A client that sends only window updates of 1 byte for %s gets no answer', (_, stream) => {
      const connection = ready();
      connection.push(headers(1, callHead), reset(1), headers(3, callHead));
      connection.read();
      flood(() => windowUpdate(stream, 1), connection, { isReading: false });
      expect(connection.failed).toBeUndefined();
      expect(connection.unreadBytes).toBe(0);
    });

    it('A client may send a control frame for each frame of DATA', () => {
      const connection = ready();
      connection.push(headers(1, callHead));
      const attack = flood(() => Buffer.concat([data(1, Buffer.alloc(1)), ping()]), connection);
      expect(attack.connection.failed).toBeUndefined();
    });

    it('A client may send control frames for ever at the allowed rate (controlsPerSecond)', async () => {
      const connection = ready();
      for (let at = 0; at < 30; at++) {
        for (let times = 0; times < controlsPerSecond; times++) {
          connection.push(ping());
        }
        connection.read();
        await connection.clock.advance(1000);
      }
      expect(connection.failed).toBeUndefined();
    });
  });

  describe('Answers that the client does not read', () => {
    // Each costs the client less than its rate limit, because DATA comes with it.
    it.each([
      ['PINGs', () => Buffer.concat([ping(), data(1, Buffer.alloc(1))])],
      ['SETTINGS', () => Buffer.concat([settings(), data(1, Buffer.alloc(1))])],
    ])(
      'A client that does not read the answers to its %s is disconnected (maxQueuedBytes)',
      (_, frames) => {
        const connection = ready();
        connection.push(headers(1, callHead));
        const attack = flood(frames, connection, { isReading: false });
        expect(attack.connection.unreadBytes).toBeLessThan(maxQueuedBytes + 4096);
        expectStopped(attack, manyTimes - 2);
      },
    );

    it('A client that does not read the refusals of its calls is disconnected (maxStreams, resetBurst)', () => {
      const answered = ready({
        onRequest: (stream) => {
          stream.answer(Buffer.alloc(100, indexedField(8)));
          return undefined;
        },
      });
      const attack = flood((at) => headers(id(at), callHead, frameFlags.endStream), answered, {
        isReading: false,
      });
      expect(attack.connection.unreadBytes).toBeLessThan(maxQueuedBytes + 4096);
      expectStopped(attack, maxStreams + resetBurst);
    });
  });

  describe('Games with windows', () => {
    it('A client with a window of 0 gets no DATA, and its stream says how much waits', () => {
      const connection = new ScriptedConnection();
      connection.push(
        Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
        settings([[settingIds.initialWindowSize, 0]]),
        headers(1, callHead),
      );
      const { stream } = connection.requests[0]!;
      stream.respond(indexedField(8));
      for (let at = 0; at < 100; at++) stream.send(new Uint8Array(10_000));
      expect(stream.queuedBytes).toBe(mib - 48_576);
      expect(connection.read().filter(({ type }) => type === frameTypes.data)).toEqual([]);
      expect(connection.unreadBytes).toBe(0);
    });

    it('A client with tiny windows gets as many bytes as it has allowed', () => {
      const connection = ready();
      connection.push(settings([[settingIds.initialWindowSize, 1]]), headers(1, callHead));
      const { stream } = connection.requests[0]!;
      stream.send(new Uint8Array(100));
      for (let at = 0; at < 20; at++) connection.push(windowUpdate(1, 1));
      const sent = connection.read().filter(({ type }) => type === frameTypes.data);
      expect(sent.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(21);
    });

    it('A window of a stream above 2^31 - 1 ends the stream', () => {
      const connection = ready();
      connection.push(headers(1, callHead), windowUpdate(1, 0x7fff_ffff));
      expect(connection.failed).toBeUndefined();
      const [answer] = connection.read().filter(({ type }) => type === frameTypes.reset);
      expect(answer!.payload.readUInt32BE()).toBe(errorCodes.flowControl);
      expect(connection.openRequests).toEqual([]);
    });

    it.each([
      ['WINDOW_UPDATE', windowUpdate(0, 0x7fff_ffff)],
      [
        'SETTINGS',
        Buffer.concat([
          headers(1, callHead),
          windowUpdate(1, 0x7000_0000),
          settings([[settingIds.initialWindowSize, 0x7fff_ffff]]),
        ]),
      ],
    ])('A window above 2^31 - 1 by %s ends the connection', (_, bytes) => {
      const connection = ready();
      connection.push(bytes);
      expect(connection.failed).toMatchObject({ code: 'FLOW_CONTROL_ERROR' });
    });

    it('A client that sends more than the window of a paused stream loses the stream (windowBytes)', () => {
      const connection = ready();
      connection.push(headers(1, callHead), headers(3, callHead));
      const [paused, other] = connection.requests;
      paused!.stream.pause();
      const piece = data(1, Buffer.alloc(16 * 1024));
      for (let sent = 0; sent <= windowBytes; sent += 16 * 1024) connection.push(piece);
      connection.read();
      expect(paused!.isClosed).toBe(true);
      expect(paused!.receivedBytes).toBeLessThanOrEqual(windowBytes);
      expect(connection.failed).toBeUndefined();
      connection.push(data(3, Buffer.alloc(100)));
      expect(other!.receivedBytes).toBe(100);
    });

    it('A client that fills the windows of many paused streams must wait for them (maxHeldBytes)', () => {
      const maxHeldBytes = 4 * mib;
      const connection = ready({ limits: { maxHeldBytes } });
      for (let at = 0; at < 100; at++) {
        connection.push(headers(id(at), callHead));
        connection.requests[at]!.stream.pause();
      }
      let left = 65_535;
      let sent = 0;
      const grant = () => {
        for (const { type, stream, payload } of connection.frames.splice(0)) {
          if (type === frameTypes.windowUpdate && stream === 0) left += payload.readUInt32BE();
        }
      };
      grant();
      for (let at = 0; at < 100; at++) {
        for (let round = 0; round < windowBytes / 16_384; round++) {
          if (left < 16_384) break;
          connection.push(data(id(at), Buffer.alloc(16_384)));
          left -= 16_384;
          sent += 16_384;
          connection.read();
          grant();
        }
      }
      expect(connection.failed).toBeUndefined();
      // What may be held, and the window of the connection that the client has already.
      expect(sent).toBeLessThanOrEqual(maxHeldBytes + 5 * windowBytes);
      for (const { stream } of connection.requests) stream.resume();
      connection.read();
      grant();
      expect(left).toBeGreaterThan(65_535);
    });
  });

  it('A client that sends more than the window of the connection is disconnected', () => {
    const connection = ready({ limits: { maxHeldBytes: 0 } });
    for (let at = 0; at < 8; at++) connection.push(headers(id(at), callHead));
    for (const { stream } of connection.requests) stream.pause();
    const attack = flood((at) => data(id(at % 8), Buffer.alloc(16_384)), connection);
    expectStopped(attack, (4 * windowBytes) / 16_384 + 8 * 2, 'FLOW_CONTROL_ERROR');
  });

  it('A client that has sent GOAWAY keeps its calls', () => {
    const connection = ready();
    connection.push(headers(1, callHead), goaway(0, 0), data(1, Buffer.alloc(5)));
    expect(connection.requests[0]!.receivedBytes).toBe(5);
    expect(connection.failed).toBeUndefined();
  });

  it('A client that never answers a drain may not open more calls than before', () => {
    const connection = ready();
    connection.connection.shutdown();
    const attack = flood((at) => headers(id(at), callHead), connection);
    expectStopped(attack, maxStreams + resetBurst);
  });

  it('A client that begins with something else is disconnected at once', () => {
    const connection = new ScriptedConnection();
    connection.push(Buffer.from('PRI * HTTP/2.0\r\n\r\nXX'));
    expect(connection.failed).toMatchObject({ code: 'PROTOCOL_ERROR' });
  });
});
