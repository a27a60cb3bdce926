import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { startFaultyProxy } from '../../testkit/network/faulty-proxy.ts';
import { ClientWatch } from '../../src/konnectivity/client-watch.ts';
import { defaultBridgeLimits } from '../../src/konnectivity-bridge/options.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { ProxyPeer } from '../konnectivity-bridge/proxy-peer.ts';
import { connectRaw, RawCall } from '../konnectivity-bridge/raw-call.ts';
import { ScriptedDialer, type ScriptedStream } from '../konnectivity-bridge/scripted-dialer.ts';
import { startTestBridge } from '../konnectivity-bridge/test-bridge.ts';
import { request } from '../konnectivity-bridge/wire.ts';

const listen = { host: '127.0.0.1', port: 0 };
const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1));

/**
 * Lets time pass in steps, with turns of the event loop between them, until the stream is reset.
 * Returns the time in milliseconds.
 */
async function untilReset(clock: VirtualClock, stream: ScriptedStream): Promise<number> {
  const startMs = clock.now();
  while (stream.resetBy === undefined && clock.now() - startMs < 200_000) {
    clock.advanceSync(1_000);
    for (let count = 0; count < 20; count++) await turn();
  }
  return clock.now() - startMs;
}

it.each(['TLS', 'plain text'])(
  'A client that vanishes in the middle of a download is given up within a minute (%s)',
  async (how) => {
    await using certificates = await makeTestCertificates();
    const { server, client } = certificates;
    const tls = { certFile: server.cert, keyFile: server.key, clientCaFile: client.ca };
    const clock = new VirtualClock();
    const dialer = new ScriptedDialer();
    const options = how === 'TLS' ? { listen, tls } : { listen };
    await using bridge = await startTestBridge(dialer, options, { clock });
    const ownTimers = clock.pendingTimers;
    await using network = await startFaultyProxy(portOf(bridge.address));
    const [ca, cert, key] = await Promise.all(
      [server.ca, client.cert, client.key].map((path) => readFile(path)),
    );
    const material = { ca: ca!, cert: cert!, key: key! };
    using peer = new ProxyPeer(`127.0.0.1:${network.port}`, how === 'TLS' ? material : undefined);
    const call = peer.call();
    call.dial('cluster1:443');
    const stream = await dialer.next();
    stream.handler.onOpened!();
    const id = await call.opened();
    call.data(id, 'send me all');
    await stream.until(() => stream.writtenBytes > 0);
    stream.arrive(Buffer.alloc(1024 * 1024));
    await call.expect('DATA');

    network.silence();
    const trickle = setInterval(() => stream.arrive('more'), 1);
    try {
      const tookMs = await untilReset(clock, stream);
      expect(tookMs).toBeGreaterThanOrEqual(20_000);
      expect(tookMs).toBeLessThanOrEqual(60_000);
    } finally {
      clearInterval(trickle);
    }
    await expect.poll(() => bridge.metrics.read('grpc_connections')).toBe(0);
    await expect.poll(() => clock.pendingTimers).toBe(ownTimers);
  },
);

it('A client that reads nothing of its call, but answers PING, is kept', async () => {
  const clock = new VirtualClock();
  const dialer = new ScriptedDialer();
  await using bridge = await startTestBridge(dialer, { listen }, { clock });
  using session = connectRaw(bridge.address);
  const call = new RawCall(session);
  call.stream.pause();
  call.stream.write(
    request({
      type: 'DIAL_REQ',
      dialRequest: { protocol: 'tcp', address: 'cluster1:443', random: '7' },
    }),
  );
  const stream = await dialer.next();
  stream.handler.onOpened!();
  stream.arrive(Buffer.alloc(4 * 1024 * 1024));
  for (let round = 0; round < 10; round++) {
    const asked = once(session, 'ping');
    // The bridge asks in the second interval at the latest, because nothing comes between the two.
    clock.advanceSync(20_000);
    await asked;
    // The answer to this comes after our answer to the bridge's PING has arrived there.
    await new Promise((resolve) => session.ping(resolve));
  }
  expect(stream.resetBy).toBeUndefined();
  expect(call.stream.closed).toBe(false);
});

it('A connection without calls gets no PING and costs no timer', async () => {
  const clock = new VirtualClock();
  await using bridge = await startTestBridge(new ScriptedDialer(), { listen }, { clock });
  using session = connectRaw(bridge.address);
  let pings = 0;
  session.on('ping', () => pings++);
  const call = new RawCall(session);
  call.stream.end();
  await call.closed;
  await expect.poll(() => clock.pendingTimers).toBe(0);
  for (let count = 0; count < 60; count++) clock.advanceSync(10_000);
  await new Promise((resolve) => session.ping(resolve));
  expect(pings).toBe(0);
});

it('A client that sends nothing is kept while bytes leave its queue, as on a slow link', () => {
  const clock = new VirtualClock();
  const deaths: number[] = [];
  let pings = 0;
  const watch = new ClientWatch({
    connection: { receivedBytes: 0, isClosed: false, ping: () => pings++ },
    limits: defaultBridgeLimits,
    clock,
    onDead: (silentMs) => deaths.push(silentMs),
  });
  watch.callBegan();
  for (let count = 0; count < 30; count++) {
    watch.progressed();
    clock.advanceSync(10_000);
  }
  expect(pings).toBe(0);
  // The PING is sent 10 s after the last progress, and is waited for 20 s.
  for (let count = 0; count < 3; count++) {
    expect(deaths).toEqual([]);
    clock.advanceSync(10_000);
  }
  expect(pings).toBe(1);
  expect(deaths).toEqual([30_000]);
});
