import { connect as connectTcp, type Socket } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';
import type { AcceptOptions } from '../../src/websocket/accept.ts';
import { connectWebSocket } from '../../src/websocket/connect.ts';
import { SocketInput } from '../../src/base/net/socket-input.ts';
import { startFaultyProxy } from '../../testkit/network/faulty-proxy.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { BulkOwner, RecordingOwner, turns } from './link-owners.ts';
import { certificates, linkServer, serverCa } from './servers.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';

afterAll(() => certificates[Symbol.asyncDispose]());

/** A client of literal bytes: the handshake of RFC 6455, section 1.3, then the bytes of a test. */
class RawClient {
  readonly socket: Socket;
  received = Buffer.alloc(0);
  ended = false;
  /** The head of the server's answer. */
  answer = '';
  #changed = () => {};

  constructor(port: number) {
    this.socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
    this.socket.on('error', () => {});
    this.socket.on('data', (bytes) => {
      this.received = Buffer.concat([this.received, bytes]);
      this.#changed();
    });
    for (const event of ['end', 'close']) {
      this.socket.on(event, () => {
        this.ended = true;
        this.#changed();
      });
    }
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#changed = resolve));
  }

  async upgrade(extra = Buffer.alloc(0)): Promise<void> {
    const head =
      'GET /v1/agent HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n' +
      'Sec-WebSocket-Protocol: other, culvert.v1\r\n\r\n';
    this.socket.write(Buffer.concat([Buffer.from(head), extra]));
    await this.until(() => this.received.includes('\r\n\r\n'));
    const end = this.received.indexOf('\r\n\r\n') + 4;
    this.answer = this.received.toString('latin1', 0, end);
    this.received = this.received.subarray(end);
  }

  write(hex: string): void {
    this.socket.write(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  }

  /** The frames received so far, in hexadecimal. */
  get hex(): string {
    return this.received.toString('hex');
  }
}

/** Simulates a Node version that keeps its internal fields elsewhere. */
function withoutStaticReads(socket: Socket): void {
  const { _handle: handle } = socket as unknown as { _handle: { useUserBuffer?: unknown } };
  handle.useUserBuffer = undefined;
}

async function rawPair(options: AcceptOptions = {}) {
  const server = await linkServer('ws', options);
  const client = new RawClient(server.port);
  await client.upgrade();
  const link = await server.accepted();
  const owner = new RecordingOwner();
  link.attach(owner);
  return {
    server,
    client,
    link,
    owner,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

describe('WebSocketLink, byte by byte', () => {
  it('The WebSocket link writes one unmasked binary frame per culvert frame, gathered at the end of the turn', async () => {
    await using pair = await rawPair();
    const { client, link } = pair;
    link.sendCopy(FrameType.ping, 0, 0, Uint8Array.of(0xaa));
    link.sendCopy(FrameType.data, 1, 2, Uint8Array.of(1, 2, 3));
    await client.until(() => client.received.length >= 32);
    expect(client.hex).toBe(
      '820d 05000000 00000000 00000000 aa 820f 13000000 00000001 00000002 010203'.replaceAll(
        ' ',
        '',
      ),
    );
    expect(link.framesOut).toBe(2);
    expect(link.bytesOut).toBe(32);
  });

  it('The WebSocket link reads a frame that arrives with the handshake, and frames in single bytes', async () => {
    await using server = await linkServer('ws');
    const client = new RawClient(server.port);
    const frame = encodeFrame(FrameType.open, 3, 4, Uint8Array.of(9));
    const message = Buffer.concat([Buffer.from([0x82, 0x8d, 0, 0, 0, 0]), frame]);
    await client.upgrade(Buffer.concat([message, message.subarray(0, 5)]));
    const link = await server.accepted();
    const owner = new RecordingOwner();
    link.attach(owner);
    for (const byte of message.subarray(5)) {
      client.socket.write(Uint8Array.of(byte));
      await turns(2);
    }
    await owner.until(() => owner.frames.length === 2);
    const expected = { type: FrameType.open, session: 3, stream: 4, payload: Buffer.of(9) };
    expect(owner.frames).toEqual([expected, expected]);
    expect(link.framesIn).toBe(2);
  });

  it('The WebSocket link answers the text ping with the text pong, and a ping frame with its payload', async () => {
    await using pair = await rawPair();
    pair.client.write('8184 01020304 716b6d63');
    pair.client.write('8983 00000000 313233');
    await pair.client.until(() => pair.client.received.length >= 11);
    expect(pair.client.hex).toBe('8104706f6e678a03313233');
    expect(pair.owner.frames).toEqual([]);
  });

  it('The WebSocket link queues a bounded number of answers for a peer that pings without reading', async () => {
    await using pair = await rawPair();
    const { client, link } = pair;
    client.socket.pause();
    while (link.room > 0) {
      link.sendCopy(FrameType.data, 1, 1, new Uint8Array(60_000));
      await turns(1);
    }
    const { room } = link;
    for (let ping = 0; ping < 1000; ping++) client.write('8980 00000000');
    while (link.bytesIn < 6000) await turns(1);
    await turns();
    expect(link.room).toBe(room);
  });

  it('The WebSocket link echoes a close frame, then ends the connection', async () => {
    await using pair = await rawPair();
    pair.client.write('8882 00000000 03e9');
    await pair.client.until(() => pair.client.ended);
    expect(pair.client.hex).toBe('880203e9');
    expect(pair.owner.closes).toMatchObject([{ code: 'draining' }]);
  });

  it('The WebSocket link waits for the answer to its close frame, then ends the connection', async () => {
    await using pair = await rawPair();
    pair.link.close(new TunnelError('overloaded', 'full'));
    await pair.client.until(() => pair.client.received.length > 0);
    expect(pair.client.received.subarray(0, 4)).toEqual(Buffer.of(0x88, 18, 0x0f, 0xb2));
    expect(pair.client.received.toString('utf8', 4)).toBe('overloaded: full');
    await turns();
    expect(pair.owner.closes).toEqual([]);
    pair.client.write('8882 00000000 0fb2');
    await pair.client.until(() => pair.client.ended);
    expect(pair.owner.closes).toMatchObject([{ code: 'overloaded' }]);
  });

  it('The WebSocket link completes the close with a peer that reads late, without waiting for a timer', async () => {
    const clock = new VirtualClock();
    await using pair = await rawPair({ clock });
    const { client, link, owner } = pair;
    client.socket.pause();
    while (link.room > 0) {
      link.sendCopy(FrameType.data, 1, 1, new Uint8Array(60_000));
      await turns(1);
    }
    client.write('8882 00000000 03e8');
    await owner.closed();
    client.socket.resume();
    await client.until(() => client.ended);
    expect(client.received.subarray(-4)).toEqual(Buffer.from('880203e8', 'hex'));
  });

  it('The WebSocket link receives the answer to its close frame although reading was paused', async () => {
    const clock = new VirtualClock();
    await using pair = await rawPair({ clock });
    pair.link.pause();
    pair.link.close();
    await pair.client.until(() => pair.client.received.length > 0);
    pair.client.write('8882 00000000 03e8');
    await pair.owner.closed();
    expect(pair.owner.closes).toEqual([undefined]);
  });

  it('The WebSocket link reads only a little before it has an owner, and frees it when closed without an owner', async () => {
    const clock = new VirtualClock();
    await using server = await linkServer('ws', { clock });
    const client = new RawClient(server.port);
    await client.upgrade();
    const link = await server.accepted();
    client.socket.write(Buffer.alloc(32 * 1024 * 1024));
    await turns(300);
    expect(client.socket.writableLength).toBeGreaterThan(0);
    expect(server.sockets[0]!.bytesRead).toBeLessThan(256 * 1024);
    link.close(new TunnelError('overloaded', 'no seat'));
    await client.until(() => client.ended);
    expect(client.received.toString('latin1')).toContain('overloaded: no seat');
    client.socket.end();
    while (!server.sockets[0]!.destroyed) await turns(1);
    expect(client.socket.writableLength).toBe(0);
  });

  it('The WebSocket link waits two seconds for the answer to its close frame and no longer', async () => {
    const clock = new VirtualClock();
    await using pair = await rawPair({ clock });
    pair.link.close();
    await clock.advance(1_999);
    expect(pair.owner.closes).toEqual([]);
    await clock.advance(1);
    await pair.owner.closed();
    await pair.client.until(() => pair.client.ended);
    expect(pair.owner.closes).toEqual([undefined]);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([
    ['an unmasked frame', '8200', 1002, 'protocol_error'],
    ['a frame too short for culvert', '8280 00000000', 1002, 'protocol_error'],
    ['an unknown frame type', '828c 00000000 ff000000 00000000 00000000', 1002, 'protocol_error'],
    ['a message of 4 GiB', '82ff 00000001 00000000 00000000', 1009, 'frame_too_large'],
    ['an HTTP request', '474554202f20485454502f312e310d0a0d0a', 1002, 'protocol_error'],
  ])(
    'The WebSocket link closes on %s and ignores all later bytes',
    async (_name, bytes, number, code) => {
      await using pair = await rawPair();
      pair.client.write(bytes);
      pair.client.socket.write(Buffer.alloc(500_000, 0x77));
      await pair.client.until(() => pair.client.ended);
      expect(pair.client.received[0]).toBe(0x88);
      expect(pair.client.received.readUInt16BE(2)).toBe(number);
      expect(pair.owner.closes).toMatchObject([{ code }]);
    },
  );

  it('The WebSocket link ends with a typed error after random bytes', async () => {
    await using server = await linkServer('ws');
    let state = 5;
    for (let round = 0; round < 40; round++) {
      const client = new RawClient(server.port);
      await client.upgrade();
      const link = await server.accepted();
      const owner = new RecordingOwner();
      link.attach(owner);
      client.socket.end(
        Uint8Array.from({ length: 3000 }, () => {
          state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
          return state >>> 16;
        }),
      );
      await owner.closed();
      expect(['protocol_error', 'frame_too_large', 'link_lost']).toContain(owner.closes[0]?.code);
      await client.until(() => client.ended);
    }
  });

  it('The WebSocket link reports link_lost with its cause after a reset, and without a cause after a silent end', async () => {
    await using reset = await rawPair();
    reset.client.socket.resetAndDestroy();
    await reset.owner.closed();
    expect(reset.owner.closes).toMatchObject([
      { code: 'link_lost', cause: { code: 'ECONNRESET' } },
    ]);

    await using ended = await rawPair();
    ended.client.socket.end();
    await ended.owner.closed();
    expect(ended.owner.closes).toMatchObject([{ code: 'link_lost' }]);
    await ended.client.until(() => ended.client.ended);
  });

  it('The WebSocket link closes a peer that was silent for two and a half intervals, and keeps a peer that pings', async () => {
    const clock = new VirtualClock();
    await using pair = await rawPair({ clock, keepAlive: { pingIntervalMs: 1000 } });
    for (let ping = 0; ping < 5; ping++) {
      const { bytesIn } = pair.link;
      pair.client.write('8184 00000000 70696e67');
      while (pair.link.bytesIn === bytesIn) await turns(1);
      await clock.advance(2_400);
    }
    expect(pair.client.hex).toBe('8104706f6e67'.repeat(5));
    await clock.advance(100);
    await pair.client.until(() => pair.client.received.length > 30);
    expect(pair.client.received.toString('latin1')).toContain('peer_unresponsive: ');
  });

  it('The WebSocket link of the dialing end pings as text and gives up after two pings without an answer', async () => {
    await using server = await linkServer('ws');
    const clock = new VirtualClock();
    const keepAlive = { pingIntervalMs: 1000, random: () => 0.5 };
    const link = await connectWebSocket({ url: server.url, clock, keepAlive });
    const owner = new RecordingOwner();
    link.attach(owner);
    const far = await server.accepted();
    far.attach(new RecordingOwner());
    for (let second = 0; second < 5; second++) {
      const { bytesIn } = link;
      await clock.advance(1000);
      while (link.bytesIn === bytesIn) await turns(1);
    }
    expect(link.bytesIn).toBe(5 * 6);
    server.sockets[0]!.pause();
    await clock.advance(3000);
    await clock.advance(2000);
    await owner.closed();
    expect(owner.closes).toMatchObject([{ code: 'peer_unresponsive' }]);
  });

  it.each(['ws', 'wss'] as const)(
    'Both ends of %s find within a minute that the other end has vanished, with a full send buffer',
    async (scheme) => {
      const clocks = [new VirtualClock(), new VirtualClock()] as const;
      await using server = await linkServer(scheme, { clock: clocks[0] });
      await using network = await startFaultyProxy(server.port);
      const url = new URL(`${scheme}://localhost:${network.port}/v1/agent`);
      const dialing = await connectWebSocket({ url, ca: serverCa, clock: clocks[1] });
      const ends = [await server.accepted(), dialing] as const;
      const owners = [new RecordingOwner(), new RecordingOwner()] as const;
      for (const [at, link] of ends.entries()) link.attach(owners[at]!);
      network.silence();
      for (const link of ends) {
        while (link.room > 0) {
          link.sendCopy(FrameType.data, 1, 1, new Uint8Array(60_000));
          await turns(1);
        }
      }
      await turns();
      for (const [at, owner] of owners.entries()) {
        await clocks[at]!.advance(60_000);
        await owner.closed();
        expect(owner.closes).toMatchObject([{ code: 'peer_unresponsive' }]);
      }
    },
  );

  it('half-dead TCP: the WebSocket link pings at once on request, and gives up after one ping without an answer', async () => {
    await using server = await linkServer('ws');
    const clock = new VirtualClock();
    const keepAlive = { pingIntervalMs: 1000, random: () => 0.5 };
    const link = await connectWebSocket({ url: server.url, clock, keepAlive });
    const owner = new RecordingOwner();
    link.attach(owner);
    (await server.accepted()).attach(new RecordingOwner());
    await clock.advance(500);
    link.probe();
    while (link.bytesIn === 0) await turns(1);
    server.sockets[0]!.pause();
    await clock.advance(100);
    link.probe();
    await clock.advance(999);
    expect(owner.closes).toEqual([]);
    await clock.advance(1);
    // The other end answers no close frame either.
    await clock.advance(2000);
    await owner.closed();
    expect(owner.closes).toMatchObject([{ code: 'peer_unresponsive' }]);
  });

  it.each([
    ['ws', 'with a new random key', (keys: Set<string>) => keys.size > 18 && !keys.has('00000000')],
    ['wss', 'with zero', (keys: Set<string>) => keys.size === 1 && keys.has('00000000')],
  ] as const)('The WebSocket link masks frames to a %s server %s', async (scheme, _how, right) => {
    await using server = await linkServer(scheme);
    const seen: Buffer[] = [];
    server.server.prependListener('upgrade', (_request, socket) => {
      withoutStaticReads(socket as Socket);
      socket.prependListener('data', (bytes: Buffer) => seen.push(Buffer.from(bytes)));
    });
    const link = await connectWebSocket({ url: server.url, ca: serverCa });
    const owner = new RecordingOwner();
    (await server.accepted()).attach(owner);
    link.attach(new RecordingOwner());
    for (let frame = 0; frame < 20; frame++) {
      link.sendCopy(FrameType.ping, 1, 1, new Uint8Array(0));
    }
    await owner.until(() => owner.frames.length === 20);
    const bytes = Buffer.concat(seen);
    const keys = new Set<string>();
    for (let at = 0; at < bytes.length; at += 18) keys.add(bytes.toString('hex', at + 2, at + 6));
    expect([...keys]).toSatisfy(() => right(keys));
  });

  it('The WebSocket link takes at most its room in one turn, even if the socket accepts more', async () => {
    await using pair = await rawPair();
    const pool = new SlabPool();
    await using server = await linkServer('ws');
    const client = new RawClient(server.port);
    await client.upgrade();
    const link = await server.accepted();
    const bulk = new BulkOwner(link, pool);
    bulk.totalBytes = 1024 * 1024;
    link.attach(bulk);
    link.wake(true);
    link.wake(true);
    expect(bulk.sentBytes).toBeGreaterThan(200 * 1024);
    expect(bulk.sentBytes).toBeLessThan(400 * 1024);
    await client.until(() => client.received.length > 1024 * 1024);
    expect(pair.owner.closes).toEqual([]);
    expect(pool.inUseBytes).toBe(0);
  });

  it('The WebSocket link reads into shared memory, on accepted and on dialed sockets, plain and TLS', async () => {
    for (const scheme of ['ws', 'wss'] as const) {
      await using server = await linkServer(scheme);
      const link = await connectWebSocket({ url: server.url, ca: serverCa });
      const far = await server.accepted();
      const memory = new Set<ArrayBufferLike>();
      for (const [near, other] of [
        [link, far],
        [far, link],
      ] as const) {
        const owner = new RecordingOwner();
        owner.onData = (_session, _stream, bytes) => {
          memory.add(bytes.buffer);
          owner.dataBytes += bytes.length;
          owner.onFrame(FrameType.fin, 0, 0, new Uint8Array(0));
        };
        near.attach(owner);
        other.sendCopy(FrameType.data, 1, 1, new Uint8Array(10));
        await owner.until(() => owner.dataBytes === 10);
      }
      expect(memory.size).toBe(1);
    }
  });

  it('The WebSocket link falls back to data events if Node does not allow reads into shared memory', async () => {
    await using server = await linkServer('ws');
    const raw = new RawClient(server.port);
    await raw.upgrade();
    const { socket } = raw;
    socket.removeAllListeners('data');
    (socket as unknown as { _handle: { useUserBuffer: undefined } })._handle.useUserBuffer =
      undefined;
    const input = new SocketInput(socket, Uint8Array.of(1));
    expect(input.isStatic).toBe(false);
    const link = await server.accepted();
    link.attach(new RecordingOwner());
    link.sendCopy(FrameType.ping, 0, 0, new Uint8Array(0));
    await turns();
    const got: number[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    input.start((bytes) => {
      got.push(...bytes);
      if (got.length === 15) resolve();
    });
    await promise;
    expect(got).toEqual([1, 0x82, 12, 5, ...Array.from({ length: 11 }, () => 0)]);
  });
});
