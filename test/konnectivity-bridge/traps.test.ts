import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultBridgeLimits } from '../../src/konnectivity-bridge/options.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { patternAt, patternSha256 } from '../../testkit/stream/pattern.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { FakeDialer } from './fake-dialer.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { startFaultyProxy } from '../../testkit/network/faulty-proxy.ts';
import { connectRaw, RawCall } from './raw-call.ts';
import { ScriptedDialer } from './scripted-dialer.ts';
import { startTestBridge } from './test-bridge.ts';
import { bytesField, grpcMessage, response, varintField } from './wire.ts';

/**
 * What a konnectivity server must do because of what its clients are. The traps of HTTP CONNECT (9)
 * and of standard agents (10) are for when the bridge speaks those.
 */

/** DIAL_REQ as Go writes it: the type is 0 and therefore absent. */
function goDialRequest(address: string, random: bigint): Buffer {
  const fields = [bytesField(1, 'tcp'), bytesField(2, address), varintField(3, random)];
  return grpcMessage(bytesField(2, Buffer.concat(fields)));
}

describe('trap 1: kube-apiserver puts the path of the socket into :authority', () => {
  it('The bridge serves a percent-encoded path, and the raw path of older kube-apiservers', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-bridge-'));
    const udsPath = join(directory, 'bridge.sock');
    const dialer = new ScriptedDialer();
    await using bridge = await startTestBridge(dialer, { udsPath });
    using session = connectRaw(bridge.address);
    // grpc-go before 1.57 sends the raw path.
    for (const authority of [encodeURIComponent(udsPath), udsPath]) {
      const call = new RawCall(session, { ':authority': authority });
      call.stream.write(goDialRequest('cluster1:443', 1n));
      const stream = await dialer.next();
      stream.handler.onOpened!();
      expect(response(await call.receive(13))).toMatchObject({ type: 'DIAL_RSP' });
    }
    await rm(directory, { recursive: true });
  });
});

describe('trap 2: the type of DIAL_REQ is absent on the wire', () => {
  it('The bridge dials for a request without a type', async () => {
    const dialer = new ScriptedDialer();
    await using bridge = await startTestBridge(dialer);
    using session = connectRaw(bridge.address);
    const packet = goDialRequest('cluster1:443', 7n);
    expect(packet[5]).toBe(0x12);
    new RawCall(session).stream.write(packet);
    expect((await dialer.next()).cluster).toBe('cluster1');
  });
});

describe('trap 3: random is a full 63-bit number', () => {
  it.each([1n, 2n ** 53n + 1n, 2n ** 63n - 1n, 0x7fed_cba9_8765_4321n])(
    'The bridge returns the random number %d',
    async (random) => {
      const dialer = new ScriptedDialer();
      await using bridge = await startTestBridge(dialer);
      const [opened, refused] = [bridge.peer.call(), bridge.peer.call()];
      opened.dial('cluster1:443', String(random));
      (await dialer.next()).handler.onOpened!();
      refused.dial('cluster1:443', String(random));
      (await dialer.next()).handler.onClose(new TunnelError('refused', 'no'));
      expect((await opened.expect('DIAL_RSP')).dialResponse.random).toBe(String(random));
      expect((await refused.expect('DIAL_RSP')).dialResponse.random).toBe(String(random));
    },
  );
});

describe('trap 4: a client drops what comes too close behind DIAL_RSP', () => {
  async function speaking(banner: Buffer) {
    const dialer = new ScriptedDialer();
    const clock = new VirtualClock();
    const bridge = await startTestBridge(dialer, undefined, { clock });
    const call = bridge.peer.call();
    call.dial('cluster1:443');
    const stream = await dialer.next();
    stream.handler.onOpened!();
    stream.arrive(banner);
    const id = await call.opened();
    // Whatever the bridge had sent by now would be here with the answer to this. The answer comes
    // behind the bridge's PING, and the second request behind the answer to the PING.
    for (let at = 0; at < 2; at++) {
      call.close('999');
      await call.expect('CLOSE_RSP');
    }
    return {
      call,
      stream,
      clock,
      id,
      bridge,
      [Symbol.asyncDispose]: () => bridge[Symbol.asyncDispose](),
    };
  }

  it('The bridge holds a target’s first bytes, and their window, for the whole hold', async () => {
    await using s = await speaking(Buffer.from('220 ready'));
    s.clock.advanceSync(defaultBridgeLimits.holdMs - 1);
    s.call.close('998');
    await s.call.expect('CLOSE_RSP');
    expect(s.stream.consumedBytes).toBe(0);
    s.clock.advanceSync(1);
    expect((await s.call.read(9)).toString()).toBe('220 ready');
    expect(s.stream.consumedBytes).toBe(9);
    s.stream.arrive('more');
    expect((await s.call.read(4)).toString()).toBe('more');
  });

  it('The bridge holds a target’s first bytes as long as the client has no time to read', async () => {
    const dialer = new ScriptedDialer();
    const clock = new VirtualClock();
    await using bridge = await startTestBridge(dialer, undefined, { clock });
    await using network = await startFaultyProxy(Number(bridge.address.split(':').at(-1)));
    using session = connectRaw(`127.0.0.1:${network.port}`);
    const call = new RawCall(session);
    call.stream.write(goDialRequest('cluster1:443', 1n));
    const stream = await dialer.next();
    // The answer to the PING does not arrive.
    network.silence('up');
    stream.handler.onOpened!();
    stream.arrive('220 ready');
    const answer = await call.receive(13);
    expect(response(answer)).toMatchObject({ type: 'DIAL_RSP' });
    clock.advanceSync(10 * defaultBridgeLimits.holdMs);
    expect(stream.consumedBytes).toBe(0);
    const timers = clock.pendingTimers;
    network.heal();
    await expect.poll(() => clock.pendingTimers).toBe(timers + 1);
    clock.advanceSync(defaultBridgeLimits.holdMs);
    expect(stream.consumedBytes).toBe(9);
    expect((await call.receive(answer.length + 9)).toString('latin1')).toContain('220 ready');
  });

  it('The bridge sends held bytes with the client’s first DATA, without waiting', async () => {
    await using s = await speaking(Buffer.from('220 ready'));
    s.call.data(s.id, 'EHLO');
    expect((await s.call.read(9)).toString()).toBe('220 ready');
    expect(s.stream.text).toBe('EHLO');
    // The timer of the watch on a client with open calls.
    expect(s.clock.pendingTimers).toBe(1);
  });

  it('The bridge keeps all of a long greeting, in packets of at most 64 KiB', async () => {
    const banner = Buffer.concat([patternAt(0, 150_000), patternAt(150_000, 50_000)]);
    await using s = await speaking(banner);
    s.clock.advanceSync(defaultBridgeLimits.holdMs);
    expect((await s.call.read(200_000)).equals(banner)).toBe(true);
  });

  it('The bridge holds the CLOSE_RSP of a target that speaks and closes, and delivers both', async () => {
    await using s = await speaking(Buffer.from('go away'));
    s.stream.handler.onFin();
    s.stream.handler.onClose(undefined);
    s.call.close('997');
    expect((await s.call.expect('CLOSE_RSP')).closeResponse.connectID).toBe('997');
    s.clock.advanceSync(defaultBridgeLimits.holdMs);
    expect((await s.call.read(7)).toString()).toBe('go away');
    expect((await s.call.expect('CLOSE_RSP')).closeResponse).toEqual({
      error: '',
      connectID: s.id,
    });
    await s.call.status;
    expect(s.bridge.metrics.read('established_connections')).toBe(0);
    expect(s.bridge.metrics.read('flushing_connections')).toBe(0);
  });

  it('A held CLOSE_RSP has the reason of the first close', async () => {
    await using s = await speaking(Buffer.from('go away'));
    s.stream.handler.onFin();
    s.stream.handler.onClose(new TunnelError('agent_lost', 'the agent is gone'));
    s.clock.advanceSync(defaultBridgeLimits.holdMs);
    expect((await s.call.read(7)).toString()).toBe('go away');
    expect((await s.call.expect('CLOSE_RSP')).closeResponse.error).toBe('');
  });

  it('A client that leaves during the hold leaves no timer behind', async () => {
    await using s = await speaking(Buffer.from('220 ready'));
    s.call.grpc.cancel();
    await s.stream.until(() => s.stream.resetBy !== undefined);
    await expect.poll(() => s.clock.pendingTimers).toBe(0);
  });

  it('The bridge discards what it holds when the client closes first', async () => {
    await using s = await speaking(Buffer.from('220 ready'));
    s.call.close(s.id);
    await s.call.expect('CLOSE_RSP');
    expect(s.stream.consumedBytes).toBe(9);
    await s.call.status;
    expect(s.call.packets).toEqual([]);
    expect(s.bridge.metrics.read('buffered_bytes')).toBe(0);
  });
});

describe('trap 5: an empty DATA reads as the end of the stream', () => {
  it('The bridge passes an empty DATA on neither to a target nor to a client', async () => {
    await using target = await startTarget({ mode: 'echo' });
    await using bridge = await startTestBridge(
      FakeDialer.to({ host: '127.0.0.1', port: target.port }),
    );
    const call = bridge.peer.call();
    call.dial('cluster1:443');
    const id = await call.opened();
    // The fake throws at a write of nothing.
    call.data(id, '');
    for (const text of ['a', '', 'b']) call.data(id, text);
    const { data } = await call.expect('DATA');
    expect(data.data.length).toBeGreaterThan(0);
    if (data.data.length === 1) await call.read(1);
    call.close(id);
    await call.expect('CLOSE_RSP');
    const [report] = await target.waitForReports(1);
    expect(report?.receivedBytes).toBe(2);
  });
});

describe('trap 6: a client that does not read is killed by itself after 10 s', () => {
  it('The bridge delays no other call of a client that does not read, on the same or another connection', async () => {
    await using target = await startTarget({
      mode: 'source',
      bytes: 64 * 1024 * 1024,
      afterFirstByte: true,
    });
    const dialer = FakeDialer.to({ host: '127.0.0.1', port: target.port });
    await using bridge = await startTestBridge(dialer);
    const stalled = bridge.peer.call();
    stalled.dial('cluster1:443');
    stalled.data(await stalled.opened(), 'go');
    stalled.grpc.pause();
    for (let i = 0; i < 3; i++) {
      const call = bridge.peer.call();
      call.dial('cluster1:443');
      call.data(await call.opened(), 'go');
      await call.read(8 * 1024 * 1024);
      call.grpc.cancel();
    }
    // What the stalled one pins is a window, its queue and the packet being filled.
    expect(dialer.opened[0]!.mostLentBytes).toBeLessThanOrEqual(256 * 1024 + 65_536);
    expect(bridge.metrics.read('buffered_bytes')).toBeLessThan(2 * 1024 * 1024);
  });
});

describe('trap 7: messages of more than 4 MiB', () => {
  it('The bridge accepts a client’s write of 20 MB', async () => {
    await using target = await startTarget({ mode: 'sink' });
    await using bridge = await startTestBridge(
      FakeDialer.to({ host: '127.0.0.1', port: target.port }),
    );
    const call = bridge.peer.call();
    call.dial('cluster1:443');
    const id = await call.opened();
    const pieces: Buffer[] = [];
    for (let at = 0; at < 20_000_000; at += pieces.at(-1)!.length) {
      pieces.push(patternAt(at, 20_000_000 - at));
    }
    call.data(id, Buffer.concat(pieces));
    call.close(id);
    await call.expect('CLOSE_RSP');
    const [report] = await target.waitForReports(1);
    expect(report).toEqual({
      receivedBytes: 20_000_000,
      sha256: patternSha256(20_000_000),
      end: 'fin',
    });
  });

  it('The bridge never sends more than 64 KiB in one packet', async () => {
    await using target = await startTarget({
      mode: 'source',
      bytes: 20_000_000,
      afterFirstByte: true,
    });
    await using bridge = await startTestBridge(
      FakeDialer.to({ host: '127.0.0.1', port: target.port }),
    );
    const call = bridge.peer.call();
    call.dial('cluster1:443');
    call.data(await call.opened(), 'go');
    for (let got = 0; got < 20_000_000;) {
      const { length } = (await call.expect('DATA')).data.data;
      expect(length).toBeLessThanOrEqual(65_536);
      got += length;
    }
    await call.expect('CLOSE_RSP');
  });
});

describe('trap 8: Close waits for CLOSE_RSP', () => {
  it('The bridge answers CLOSE_REQ at once although the target takes nothing, and still delivers what was written', async () => {
    const dialer = new ScriptedDialer();
    await using bridge = await startTestBridge(dialer);
    const call = bridge.peer.call();
    call.dial('cluster1:443');
    const stream = await dialer.next();
    stream.handler.onOpened!();
    const id = await call.opened();
    stream.hasRoom = false;
    call.data(id, 'a');
    call.close(id);
    await call.expect('CLOSE_RSP');
    await stream.until(() => stream.isFinished);
    expect(stream.text).toBe('a');
  });
});
