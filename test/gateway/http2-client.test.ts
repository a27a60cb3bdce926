import { describe, expect, it } from 'vitest';
import { Http2Client } from '../../src/gateway/node/http2-client.ts';
import type { ClientEvents } from '../../src/gateway/node/client-side.ts';
import { HpackDecoder } from '../../src/http2/hpack-decoder.ts';
import type { HeaderList } from '../../src/http-exchange/http-exchange.ts';
import {
  data,
  frameFlags,
  frameTypes,
  headers,
  reset,
  settingIds,
  settings,
  windowUpdate,
} from '../../testkit/http2/frames.ts';
import { plainField, requestHead } from '../../testkit/http2/hpack-bytes.ts';
import { ScriptedConnection } from '../../testkit/http2/scripted-connection.ts';

const { endStream } = frameFlags;
const get = requestHead('GET', '/a');
const kib = 1024;

/** A request over HTTP/2, what its owner learns of it, and what its client reads. */
class TestedClient {
  readonly events: string[] = [];
  readonly scripted: ScriptedConnection;
  client!: Http2Client;
  readonly #decoder = new HpackDecoder({ maxTableBytes: 4096, maxHeaderListBytes: 100_000 });

  constructor({ hasBody = false, windowBytes = 256 * kib } = {}) {
    const events: ClientEvents = {
      onBody: (bytes) => void this.events.push(`body ${Buffer.from(bytes).toString()}`),
      onBodyEnd: (trailers) => void this.events.push(`body end ${JSON.stringify(trailers)}`),
      onBodyInvalid: () => {},
      onDrain: () => void this.events.push('drain'),
      onClientClosed: (isComplete) => void this.events.push(`closed ${isComplete}`),
    };
    this.scripted = ScriptedConnection.ready({
      limits: { windowBytes },
      onRequest: (stream) => {
        this.client = new Http2Client(stream, events, () => this.events.push('ended'));
        return this.client;
      },
    });
    this.scripted.push(headers(1, get, hasBody ? 0 : endStream));
  }

  /** Heads as their fields, and other frames by type, flags and length. */
  read(): unknown[] {
    return this.scripted
      .read()
      .map(({ type, flags, payload }) =>
        type === frameTypes.headers
          ? { flags, fields: this.#decoder.decode(payload).map(({ name, value }) => [name, value]) }
          : [type, flags, payload.length],
      );
  }
}

const date = ['Date', 'today'] as const;
const ok = (...more: HeaderList) => ({ status: 200, headers: [date, ...more] });
const okFields = [
  [':status', '200'],
  ['date', 'today'],
];

describe('An answer over HTTP/2', () => {
  it('An answer without a body ends with its head, and is complete when it is read', () => {
    const tested = new TestedClient();
    tested.client.begin(ok());
    tested.client.end(undefined);
    expect(tested.events).toEqual([]);
    expect(tested.read()).toEqual([{ flags: 0x5, fields: okFields }]);
    expect(tested.events).toEqual(['closed true', 'ended']);
    // The end of the turn comes later.
    tested.client.endTurn();
    expect(tested.read()).toEqual([]);
  });

  it('A head whose body comes later leaves at the end of the turn', () => {
    const tested = new TestedClient();
    tested.client.begin(ok());
    expect(tested.read()).toEqual([]);
    tested.client.endTurn();
    expect(tested.read()).toEqual([{ flags: 0x4, fields: okFields }]);
    tested.client.write(Buffer.from('abc'));
    tested.client.end(undefined);
    expect(tested.read()).toEqual([
      [frameTypes.data, 0, 3],
      [frameTypes.data, endStream, 0],
    ]);
    expect(tested.events).toEqual(['closed true', 'ended']);
  });

  it('Names are in lower case, and fields of HTTP/1.1 and of the handshake are left out', () => {
    const tested = new TestedClient();
    const names = ['Connection', 'HTTP2-Settings', 'Keep-Alive', 'Proxy-Connection', 'TE'];
    const more = ['Transfer-Encoding', 'Upgrade', 'Sec-WebSocket-Accept'];
    const left = [...names, ...more].map((name): [string, string] => [name, 'a']);
    tested.client.begin(ok(...left, ['X-A', '1'], ['x-a', '\xe9'], ['Set-Cookie', 'b']));
    tested.client.end([]);
    expect(tested.read()).toEqual([
      { flags: 0x5, fields: [...okFields, ['x-a', '1'], ['x-a', '\xe9'], ['set-cookie', 'b']] },
    ]);
  });

  it('A head without a date gets one', () => {
    const tested = new TestedClient();
    tested.client.begin({ status: 204, headers: [] });
    tested.client.end(undefined);
    const [head] = tested.read() as { fields: string[][] }[];
    expect(head!.fields.map(([name]) => name)).toEqual([':status', 'date']);
    expect(Date.parse(head!.fields[1]![1]!)).toBeGreaterThan(0);
  });

  it('Trailers follow a body, and a head', () => {
    const fields = [['x-sum', '7']];
    for (const body of ['', 'abc']) {
      const tested = new TestedClient();
      tested.client.begin(ok());
      tested.client.write(Buffer.from(body));
      tested.client.end([
        ['X-Sum', '7'],
        ['TE', 'gzip'],
      ]);
      expect(tested.read().at(-1)).toEqual({ flags: 0x5, fields });
    }
  });

  it('Trailers that wait for the client do not change with the answers of others', () => {
    const tested = new TestedClient();
    tested.scripted.push(settings([[settingIds.initialWindowSize, 0]]));
    tested.read();
    tested.client.begin(ok());
    tested.client.write(Buffer.from('abc'));
    tested.client.end([['X-Sum', '7']]);
    new TestedClient().client.inform({ status: 103, headers: [['Link', '</a>']] });
    tested.scripted.push(windowUpdate(1, 100));
    expect(tested.read().at(-1)).toEqual({ flags: 0x5, fields: [['x-sum', '7']] });
  });

  it('Informational heads have all their fields', () => {
    const tested = new TestedClient();
    tested.client.inform({
      status: 103,
      headers: [
        ['Link', '</a>'],
        ['Link', '</b>'],
        ['TE', 'a'],
      ],
    });
    expect(tested.read()).toEqual([
      {
        flags: 0x4,
        fields: [
          [':status', '103'],
          ['link', '</a>'],
          ['link', '</b>'],
        ],
      },
    ]);
  });

  it('A status that HTTP/2 does not have is refused before anything is sent', () => {
    const tested = new TestedClient();
    expect(() => tested.client.begin({ status: 600, headers: [] })).toThrow('no status 600');
    tested.client.endTurn();
    expect(tested.read()).toEqual([]);
  });

  it('An answer that is cut resets its stream, also before its head has left', () => {
    const tested = new TestedClient();
    tested.client.begin(ok());
    tested.client.cut();
    tested.client.endTurn();
    tested.client.end(undefined);
    expect(tested.read()).toEqual([[frameTypes.reset, 0, 4]]);
    expect(tested.events).toEqual(['closed false', 'ended']);
  });

  it('A server waits while more than 64 KiB wait for the client', () => {
    const tested = new TestedClient();
    tested.scripted.push(settings([[settingIds.initialWindowSize, 0]]));
    tested.read();
    tested.client.begin(ok());
    expect(tested.client.write(Buffer.alloc(64 * kib))).toBe(true);
    expect(tested.client.write(Buffer.alloc(1))).toBe(false);
    tested.scripted.push(windowUpdate(1, 31 * kib));
    tested.read();
    expect(tested.events).toEqual([]);
    tested.scripted.push(windowUpdate(1, 2 * kib));
    tested.read();
    expect(tested.events).toEqual(['drain']);
    tested.scripted.push(windowUpdate(1, 2 * kib));
    tested.read();
    expect(tested.events).toEqual(['drain']);
  });
});

describe('The body of a request over HTTP/2', () => {
  it('A body that comes before the request is admitted is kept as one piece', () => {
    const tested = new TestedClient({ hasBody: true });
    for (const piece of ['a', 'b', 'c']) tested.scripted.push(data(1, Buffer.from(piece)));
    tested.scripted.push(headers(1, plainField('x-sum', '7'), endStream));
    expect(tested.events).toEqual([]);
    tested.client.body.read();
    tested.client.body.read();
    expect(tested.events).toEqual(['body abc', 'body end [["x-sum","7"]]']);
  });

  it('A body gives no window back before it is read, or while it is paused', () => {
    const tested = new TestedClient({ hasBody: true, windowBytes: 100 });
    const piece = Buffer.alloc(60, 'x');
    tested.scripted.push(data(1, piece));
    expect(tested.read()).toEqual([]);
    tested.client.body.read();
    expect(tested.read()).toEqual([[frameTypes.windowUpdate, 0, 4]]);
    tested.client.body.pause();
    tested.scripted.push(data(1, piece));
    expect(tested.events).toHaveLength(2);
    expect(tested.read()).toEqual([]);
    tested.client.body.resume();
    expect(tested.read()).toEqual([[frameTypes.windowUpdate, 0, 4]]);
  });

  it('A request without a body has its end at once', () => {
    const tested = new TestedClient();
    tested.client.body.read();
    expect(tested.events).toEqual(['body end undefined']);
  });

  it('A body that the server does not want is dropped, and its window is given back', () => {
    const tested = new TestedClient({ hasBody: true, windowBytes: 100 });
    tested.scripted.push(data(1, Buffer.alloc(30)));
    tested.client.body.drop();
    tested.scripted.push(data(1, Buffer.alloc(30)));
    expect(tested.read()).toEqual([[frameTypes.windowUpdate, 0, 4]]);
    tested.scripted.push(data(1, Buffer.alloc(30), endStream));
    tested.client.body.read();
    expect(tested.events).toEqual([]);
  });

  it('Nothing of a body comes after its client has reset the stream', () => {
    const tested = new TestedClient({ hasBody: true });
    tested.client.body.read();
    tested.scripted.push(data(1, Buffer.from('a')), reset(1), data(1, Buffer.from('b')));
    expect(tested.events).toEqual(['body a', 'closed false', 'ended']);
  });

  it('A body whose client has reset the stream before it is read is never read', () => {
    const tested = new TestedClient({ hasBody: true });
    tested.scripted.push(data(1, Buffer.from('a')), reset(1));
    tested.client.body.read();
    expect(tested.events).toEqual(['closed false', 'ended']);
  });

  it('The client of an upgraded stream goes on after the answer', () => {
    const tested = new TestedClient({ hasBody: true });
    tested.client.upgrade({ status: 101, headers: [date, ['Upgrade', 'websocket']] });
    tested.client.body.read();
    tested.client.end(undefined);
    expect(tested.read()).toEqual([
      { flags: 0x4, fields: okFields },
      [frameTypes.data, endStream, 0],
    ]);
    tested.scripted.push(data(1, Buffer.from('a'), endStream));
    expect(tested.events).toEqual(['body a', 'body end undefined', 'closed true', 'ended']);
  });

  it('The client of another stream is asked to end its body after the answer', () => {
    const tested = new TestedClient({ hasBody: true });
    tested.client.body.read();
    tested.client.begin(ok());
    tested.client.end(undefined);
    expect(tested.read().at(-1)).toEqual([frameTypes.reset, 0, 4]);
    tested.scripted.push(data(1, Buffer.from('a'), endStream));
    expect(tested.events).toEqual(['closed true', 'ended']);
  });
});
