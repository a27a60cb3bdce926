import { describe, expect, it } from 'vitest';
import { defaultBridgeLimits } from '../../src/konnectivity-bridge/options.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import type { PeerCall } from './proxy-peer.ts';
import { ScriptedDialer, type ScriptedStream } from './scripted-dialer.ts';
import { startTestBridge, type TestBridge } from './test-bridge.ts';

interface Scene extends AsyncDisposable {
  readonly dialer: ScriptedDialer;
  readonly clock: VirtualClock;
  readonly bridge: TestBridge;
}

async function scene(): Promise<Scene> {
  const dialer = new ScriptedDialer();
  const clock = new VirtualClock();
  const bridge = await startTestBridge(dialer, undefined, { clock });
  return { dialer, clock, bridge, [Symbol.asyncDispose]: () => bridge[Symbol.asyncDispose]() };
}

interface Open {
  readonly call: PeerCall;
  readonly stream: ScriptedStream;
  readonly id: string;
}

/** A connection that is open, and past its hold. */
async function open({ dialer, clock, bridge }: Scene): Promise<Open> {
  const call = bridge.peer.call();
  call.dial('cluster1:443', '77');
  const stream = await dialer.next();
  stream.handler.onOpened!();
  const id = await call.opened();
  const timers = clock.pendingTimers;
  stream.arrive('!');
  // The client has answered the PING.
  await expect.poll(() => clock.pendingTimers).toBe(timers + 1);
  clock.advanceSync(defaultBridgeLimits.holdMs);
  expect((await call.read(1)).toString()).toBe('!');
  stream.consumedBytes = 0;
  return { call, stream, id };
}

/**
 * Resolves when everything that the client sent before has been read: the answer comes after it.
 */
async function roundTrip(call: PeerCall): Promise<void> {
  call.close('999');
  const { closeResponse } = await call.expect('CLOSE_RSP');
  expect(closeResponse).toEqual({ error: 'Unknown connectID', connectID: '999' });
}

describe('a dial (rule 1)', () => {
  it('A dial goes to the cluster that the address names and is answered with its random and an id', async () => {
    await using s = await scene();
    const call = s.bridge.peer.call();
    call.dial('cluster1.proxies:6443', '9007199254740993');
    const stream = await s.dialer.next();
    expect(stream).toMatchObject({
      cluster: 'cluster1',
      target: { kind: 'tcp', host: 'cluster1.proxies', port: 6443 },
      timeoutMs: 10_000,
    });
    expect(s.bridge.metrics.read('pending_backend_dials')).toBe(1);
    stream.handler.onOpened!();
    const { dialResponse } = await call.expect('DIAL_RSP');
    expect(dialResponse).toMatchObject({ error: '', random: '9007199254740993' });
    expect(Number(dialResponse.connectID)).toBeGreaterThanOrEqual(1);
    expect(s.bridge.metrics.read('pending_backend_dials')).toBe(0);
    expect(s.bridge.metrics.read('established_connections')).toBe(1);
  });

  it('The bridge gives every connection of the process another id', async () => {
    await using one = await scene();
    await using other = await scene();
    const ids = [await open(one), await open(one), await open(other)].map(({ id }) => id);
    expect(new Set(ids).size).toBe(3);
  });

  it.each([
    ['no_agent', 'cluster1 has no tunnel', 'No agent available', 'no_agent'],
    [
      'refused',
      'dial tcp 10.0.0.1:443: connect: connection refused',
      'dial tcp 10.0.0.1:443: connect: connection refused',
      'error_response',
    ],
    [
      'timeout',
      'dial tcp 10.0.0.1:443: i/o timeout',
      'dial tcp 10.0.0.1:443: i/o timeout',
      'error_response',
    ],
    ['link_lost', 'the agent is gone', 'the agent is gone', 'backend_close'],
    ['agent_lost', 'the agent is gone', 'the agent is gone', 'backend_close'],
  ] as const)(
    'A dial that ends with %s is answered with the reason',
    async (code, sentence, text, reason) => {
      await using s = await scene();
      const call = s.bridge.peer.call();
      call.dial('cluster1:443', '5');
      const stream = await s.dialer.next();
      stream.handler.onClose(new TunnelError(code, sentence));
      const { dialResponse } = await call.expect('DIAL_RSP');
      expect(dialResponse).toEqual({ error: text, connectID: '0', random: '5' });
      expect((await call.status).code).toBe(0);
      expect(s.bridge.metrics.read(`dial_failure_count/${reason}`)).toBe(1);
      expect(s.bridge.metrics.read('pending_backend_dials')).toBe(0);
    },
  );

  it('A dial to an unknown name is answered without a dialer', async () => {
    await using s = await scene();
    const call = s.bridge.peer.call();
    call.dial('10.0.0.1:443');
    expect((await call.expect('DIAL_RSP')).dialResponse.error).toBe('No agent available');
    const other = s.bridge.peer.call();
    other.dial('cluster1');
    expect((await other.expect('DIAL_RSP')).dialResponse.error).toBe(
      'dial tcp: address cluster1: missing port in address',
    );
    expect(s.dialer.openedCount).toBe(0);
  });

  it('A dial that the dialer never answers is answered after 15 s and cancelled', async () => {
    await using s = await scene();
    const call = s.bridge.peer.call();
    call.dial('cluster1:443');
    const stream = await s.dialer.next();
    s.clock.advanceSync(14_999);
    expect(stream.resetBy).toBeUndefined();
    s.clock.advanceSync(1);
    expect((await call.expect('DIAL_RSP')).dialResponse.error).toBe(
      'timed out waiting for backend dial',
    );
    expect(stream.resetBy?.code).toBe('timeout');
    expect(s.bridge.metrics.read('dial_failure_count/backend_dial_timeout')).toBe(1);
  });
});

describe('relaying (rule 2)', () => {
  it('The bridge carries bytes both ways under the connection’s id', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    call.data(id, 'to the target');
    await stream.until(() => stream.text === 'to the target');
    stream.arrive('to the client');
    const { data } = await call.expect('DATA');
    expect(data).toMatchObject({ connectID: id, data: Buffer.from('to the client') });
  });

  it('The bridge merges what arrives in one turn into packets for which grpc-go takes at most 32 KiB', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    for (let i = 0; i < 300; i++) stream.arrive(Buffer.alloc(500, i));
    const sizes: number[] = [];
    while (sizes.reduce((sum, size) => sum + size, 0) < 150_000) {
      sizes.push((await call.expect('DATA')).data.data.length);
    }
    expect(sizes).toEqual([32_704, 32_704, 32_704, 32_704, 19_184]);
  });

  it('The bridge keeps order and content when small and large pieces alternate', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    const sent: Buffer[] = [];
    for (let i = 0; i < 400; i++) {
      const piece = Buffer.alloc((i * 7919) % (i % 10 === 0 ? 150_000 : 900), i);
      if (piece.length === 0) continue;
      sent.push(piece);
      stream.arrive(piece);
      if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    const all = Buffer.concat(sent);
    expect((await call.read(all.length)).equals(all)).toBe(true);
    await stream.until(() => stream.consumedBytes === all.length);
    expect(s.bridge.metrics.read('buffered_bytes')).toBe(0);
  });

  it('The bridge holds the client back while the tunnel has no room, and lets it continue', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    stream.hasRoom = false;
    const total = 8 * 1024 * 1024;
    for (let sent = 0; sent < total; sent += 65_536) call.data(id, Buffer.alloc(65_536));
    await stream.until(() => stream.writtenBytes > 0);
    await roundTripOfAnotherCall(s);
    // What Node had read already when it was paused, never the window after window that the client
    // has.
    expect(stream.writtenBytes).toBeLessThan(1024 * 1024);
    stream.hasRoom = true;
    stream.handler.onWritable();
    await stream.until(() => stream.writtenBytes === total);
  });

  it('The bridge gives no window back while a client does not read, and all of it when it does', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    call.grpc.pause();
    let sent = 0;
    for (; sent < 4 * 1024 * 1024; sent += 65_536) {
      stream.arrive(Buffer.alloc(65_536));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await roundTripOfAnotherCall(s);
    expect(stream.consumedBytes).toBeLessThan(1024 * 1024);
    call.grpc.resume();
    await stream.until(() => stream.consumedBytes === sent);
  });

  it('The bridge does not pin a large buffer per byte that a stalled client does not read', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    call.grpc.pause();
    // Fills HTTP/2's window and the socket, so that packets stay queued.
    for (let i = 0; i < 64; i++) stream.arrive(Buffer.alloc(65_536));
    const before = s.bridge.metrics.read('buffered_bytes');
    for (let i = 0; i < 2000; i++) {
      stream.arrive('.');
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(s.bridge.metrics.read('buffered_bytes') - before).toBeLessThan(5 * 65_600);
  });
});

async function roundTripOfAnotherCall(s: Scene): Promise<void> {
  const { call } = await open(s);
  await roundTrip(call);
}

describe('the end by the target (rule 3)', () => {
  it('The bridge delivers what was sent before, then CLOSE_RSP, and ends the call with OK', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    stream.arrive(Buffer.alloc(200_000, 1));
    stream.handler.onFin();
    expect((await call.read(200_000)).length).toBe(200_000);
    expect((await call.expect('CLOSE_RSP')).closeResponse).toEqual({ error: '', connectID: id });
    expect((await call.status).code).toBe(0);
    await stream.until(() => stream.isFinished);
    expect(stream.resetBy).toBeUndefined();
  });

  it('The bridge sends the reason of a reset in CLOSE_RSP', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    stream.arrive('partial');
    stream.handler.onClose(new TunnelError('target_reset', 'read tcp: connection reset by peer'));
    expect((await call.read(7)).toString()).toBe('partial');
    expect((await call.expect('CLOSE_RSP')).closeResponse).toEqual({
      error: 'read tcp: connection reset by peer',
      connectID: id,
    });
    expect(s.bridge.metrics.read('established_connections')).toBe(0);
  });

  it('The bridge resumes a client that was held back', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    stream.hasRoom = false;
    call.data(id, 'x');
    await stream.until(() => stream.writtenBytes === 1);
    stream.handler.onClose(new TunnelError('agent_lost', 'the agent is gone'));
    expect((await call.expect('CLOSE_RSP')).closeResponse.error).toBe('the agent is gone');
    expect((await call.status).code).toBe(0);
  });
});

describe('a target that reads no more', () => {
  it('A client that was held back is read again when its target reads no more', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    stream.hasRoom = false;
    call.data(id, 'x');
    await stream.until(() => stream.text === 'x');
    // From now on the tunnel drops what is written.
    stream.hasRoom = true;
    stream.handler.onStop!();
    call.data(id, 'y');
    await stream.until(() => stream.text.length === 2);
    expect(stream.text).toBe('xy');
  });
});

describe('the end by the client (rules 4 to 6)', () => {
  it('The bridge answers CLOSE_REQ at once, sends no more DATA, and lets the target have what was written', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    call.data(id, 'last words');
    call.close(id);
    expect((await call.expect('CLOSE_RSP')).closeResponse).toEqual({ error: '', connectID: id });
    await stream.until(() => stream.isFinished);
    expect(stream.text).toBe('last words');
    expect(stream.resetBy).toBeUndefined();
    expect(s.bridge.metrics.read('flushing_connections')).toBe(1);
    expect(stream.isStopped).toBe(true);
    stream.arrive('too late');
    expect((await call.status).code).toBe(0);
    expect(call.packets).toEqual([]);
    stream.handler.onClose(undefined);
    expect(s.bridge.metrics.read('flushing_connections')).toBe(0);
  });

  it('The bridge stops the target of a closed client, and gives no window back for its bytes', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    call.close(id);
    await call.expect('CLOSE_RSP');
    expect(stream.isStopped).toBe(true);
    stream.arrive(Buffer.alloc(100_000));
    expect(stream.consumedBytes).toBe(0);
  });

  it('The bridge continues to deliver after the client has dropped its connection', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    call.data(id, 'last words');
    call.close(id);
    await call.expect('CLOSE_RSP');
    call.grpc.cancel();
    s.bridge.peer.service.close();
    await expect.poll(() => s.bridge.metrics.read('grpc_connections')).toBe(0);
    expect(stream.isFinished).toBe(true);
    expect(stream.resetBy).toBeUndefined();
    expect(s.bridge.metrics.read('flushing_connections')).toBe(1);
  });

  it('The bridge resets a target that does not close within two minutes of its client', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    call.close(id);
    await call.expect('CLOSE_RSP');
    s.clock.advanceSync(119_999);
    expect(stream.resetBy).toBeUndefined();
    s.clock.advanceSync(1);
    expect(stream.resetBy?.code).toBe('timeout');
    expect(s.bridge.metrics.read('flushing_connections')).toBe(0);
    await expect.poll(() => s.clock.pendingTimers).toBe(0);
  });

  it('The bridge cancels the dial at the agent on DIAL_CLS', async () => {
    await using s = await scene();
    const call = s.bridge.peer.call();
    call.dial('cluster1:443', '31');
    const stream = await s.dialer.next();
    call.send({ type: 'DIAL_CLS', closeDial: { random: '32' } });
    await roundTrip(call);
    expect(stream.resetBy).toBeUndefined();
    call.send({ type: 'DIAL_CLS', closeDial: { random: '31' } });
    await stream.until(() => stream.resetBy !== undefined);
    expect(stream.resetBy?.code).toBe('cancelled');
    await call.status;
    expect(call.packets).toEqual([]);
    expect(s.bridge.metrics.read('dial_failure_count/frontend_close')).toBe(1);
    await expect.poll(() => s.clock.pendingTimers).toBe(0);
  });

  it('The bridge closes a connection whose DIAL_RSP has crossed a DIAL_CLS', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    call.send({ type: 'DIAL_CLS', closeDial: { random: '77' } });
    await stream.until(() => stream.resetBy !== undefined);
    expect(stream.resetBy?.code).toBe('reset');
  });

  it.each([
    ['cancels its call', (call: PeerCall) => call.grpc.cancel()],
    ['ends its side of the call', (call: PeerCall) => call.grpc.end()],
  ])('The bridge cancels the dial when the client %s', async (_, leave) => {
    await using s = await scene();
    const call = s.bridge.peer.call();
    call.dial('cluster1:443');
    const stream = await s.dialer.next();
    leave(call);
    await stream.until(() => stream.resetBy !== undefined);
    expect(stream.resetBy?.code).toBe('cancelled');
  });

  it.each([
    ['cancels its call', (call: PeerCall) => call.grpc.cancel()],
    ['ends its side of the call', (call: PeerCall) => call.grpc.end()],
  ])('The bridge resets the target when the client %s without CLOSE_REQ', async (_, leave) => {
    await using s = await scene();
    const { call, stream } = await open(s);
    leave(call);
    await stream.until(() => stream.resetBy !== undefined);
    expect(stream.resetBy?.code).toBe('reset');
    expect(s.bridge.metrics.read('established_connections')).toBe(0);
  });

  it('The bridge resets the target of a client that was held back when it left', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    stream.hasRoom = false;
    for (let i = 0; i < 40; i++) call.data(id, Buffer.alloc(65_536));
    await stream.until(() => stream.writtenBytes > 0);
    await roundTripOfAnotherCall(s);
    call.grpc.cancel();
    await stream.until(() => stream.resetBy !== undefined);
    expect(stream.resetBy?.code).toBe('reset');
  });
});

describe('packets out of place (rules 7 and 8)', () => {
  it('The bridge answers DATA before DIAL_REQ and stops reading', async () => {
    await using s = await scene();
    const call = s.bridge.peer.call();
    call.data('42', 'early');
    expect((await call.expect('CLOSE_RSP')).closeResponse).toEqual({
      error: 'backend not initialized',
      connectID: '42',
    });
    await call.status;
  });

  it('The bridge answers CLOSE_REQ before DIAL_REQ and continues to read', async () => {
    await using s = await scene();
    const call = s.bridge.peer.call();
    call.close('42');
    expect((await call.expect('CLOSE_RSP')).closeResponse).toEqual({
      error: 'backend uninitialized',
      connectID: '42',
    });
    call.dial('cluster1:443');
    await s.dialer.next();
  });

  it('The bridge ignores DATA for connection 0 and packets of other types', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    call.data('0', 'nobody');
    call.grpc.write({ type: 'DRAIN', drain: {} } as never);
    call.grpc.write({ type: 99 } as never);
    await roundTrip(call);
    expect(stream.written).toEqual([]);
  });

  it('The bridge answers packets for no connection of the call once per id, and keeps the own connection', async () => {
    await using s = await scene();
    const victim = await open(s);
    const { call, stream, id } = await open(s);
    call.data(victim.id, 'injected');
    call.data(victim.id, 'injected');
    expect((await call.expect('CLOSE_RSP')).closeResponse).toEqual({
      error: 'unrecognized connectID',
      connectID: victim.id,
    });
    call.close(victim.id);
    expect((await call.expect('CLOSE_RSP')).closeResponse).toEqual({
      error: 'Unknown connectID',
      connectID: victim.id,
    });
    call.data(id, 'own');
    await stream.until(() => stream.text === 'own');
    expect(victim.stream.written).toEqual([]);
    expect(victim.stream.isFinished).toBe(false);
  });

  it('The bridge refuses a second DIAL_REQ on a call by its own random and continues with the first', async () => {
    await using s = await scene();
    const { call, stream, id } = await open(s);
    call.dial('cluster2:443', '78');
    expect((await call.expect('DIAL_RSP')).dialResponse).toEqual({
      error: 'this stream has a connection already: open another stream',
      connectID: '0',
      random: '78',
    });
    call.data(id, 'still here');
    await stream.until(() => stream.text === 'still here');
    expect(s.dialer.openedCount).toBe(1);
  });

  it('The bridge ends the call of a client that sends nothing but packets for no connection', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    for (let i = 1000; i <= 2000; i++) call.close(String(i));
    const status = await call.status;
    expect(status.code).toBe(8);
    expect(call.packets.length).toBe(1000);
    expect(stream.resetBy?.code).toBe('reset');
  });

  it('The bridge ends the call of a client that reads none of the answers to its stray packets', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    call.grpc.pause();
    // Fills HTTP/2's window, so that answers stay queued.
    for (let i = 0; i < 64; i++) stream.arrive(Buffer.alloc(65_536));
    for (let i = 1000; i < 1040; i++) call.close(String(i));
    await stream.until(() => stream.resetBy !== undefined);
    expect(stream.resetBy?.code).toBe('reset');
  });

  it('The bridge ends the call of a client that sends a malformed packet, and resets its target', async () => {
    await using s = await scene();
    const { call, stream } = await open(s);
    call.close('1152921504606846976');
    const status = await call.status;
    expect(status.code).toBe(13);
    expect(status.details).toContain('connect id');
    expect(stream.resetBy?.code).toBe('reset');
  });
});
