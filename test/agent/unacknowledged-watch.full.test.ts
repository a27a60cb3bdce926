import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { HostPort } from '../../src/base/net/host-port.ts';
import { OpenTargets } from '../../src/agent/open-targets.ts';
import { TargetConnection } from '../../src/agent/target-connection.ts';
import { UnacknowledgedWatch } from '../../src/agent/unacknowledged-watch.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { networkNamespaces } from '../../testkit/network/network-namespace.ts';
import { startProgram } from '../../testkit/processes/process.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { node } from '../../testkit/world/world.ts';

const mib = 1024 * 1024;

/** A server that reads nothing of its first connection and echoes on all others. */
const serverText = `
  let count = 0;
  require('node:net').createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {});
    if (count++ > 0) socket.pipe(socket);
  }).listen(0, process.argv[1], function () { console.log('listens on ' + this.address().port); });
`;

/** Passes ten virtual seconds repeatedly. In the real time between, the kernel retransmits. */
async function pass(clock: VirtualClock, tens: number, realMs: number): Promise<void> {
  for (let count = 0; count < tens; count++) {
    await clock.advance(10_000);
    await sleep(realMs);
  }
}

/** A target with a stream that only keeps a record. */
async function dialed(to: HostPort, open: OpenTargets) {
  const accepted = Promise.withResolvers<void>();
  const record = { receivedBytes: 0, ending: undefined as TunnelError | undefined };
  const stream = {
    accept: accepted.resolve,
    reset: (error: TunnelError) => (record.ending ??= error),
    fin() {},
    consumed() {},
    write: (bytes: Uint8Array) => (record.receivedBytes += bytes.length) > 0,
  };
  const limit = { timeoutMs: 5_000, clock: new VirtualClock() };
  const target = new TargetConnection(stream as unknown as Stream, to, limit, open);
  await accepted.promise;
  return Object.assign(record, { target });
}

function watched(clock: VirtualClock, ...sockets: readonly Socket[]): number[] {
  const dead: number[] = [];
  const watch = new UnacknowledgedWatch(clock);
  for (const [at, socket] of sockets.entries()) watch.add(socket, () => dead.push(at));
  return dead;
}

describe('A live peer of an agent', () => {
  it('A live peer keeps its connection if it does not read for minutes, and also if it has nothing to send', async () => {
    const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const stalled = connect({ host: '127.0.0.1', port });
    const quiet = connect({ host: '127.0.0.1', port });
    try {
      const clock = new VirtualClock();
      const dead = watched(clock, stalled, quiet);
      stalled.write(Buffer.alloc(32 * mib));
      quiet.write('hello');
      await pass(clock, 60, 20);
      expect(stalled.writableLength).toBeGreaterThan(0);
      expect(dead).toEqual([]);
      stalled.destroy();
      quiet.destroy();
      await expect.poll(() => clock.pendingTimers).toBe(0);
    } finally {
      stalled.destroy();
      quiet.destroy();
      server.close();
    }
  });
});

describeWith(
  { namespaces: await networkNamespaces() },
  'A peer whose network is gone',
  ({ namespaces }) => {
    it('A peer whose network is gone is found within a minute although bytes to it are unacknowledged', async () => {
      await using namespace = await namespaces.create();
      await using server = startProgram({
        command: 'ip',
        args: ['netns', 'exec', namespace.name, node, '-e', serverText, namespace.address],
      });
      const [, port] = await server.waitForLine(/listens on (\d+)/);
      const to = { host: namespace.address, port: Number(port) };
      const clock = new VirtualClock();
      const open = new OpenTargets(clock);
      const stalled = await dialed(to, open);
      const echoing = await dialed(to, open);
      stalled.target.onData(Buffer.alloc(32 * mib));
      echoing.target.onData(Buffer.from('hello'));
      await expect.poll(() => echoing.receivedBytes).toBe(5);
      await pass(clock, 10, 20);
      expect(open.size).toBe(2);

      await namespace.cut();
      echoing.target.onData(Buffer.from('hello again'));
      // Written at the end of the turn.
      await sleep(50);
      await clock.advance(10_000);
      await clock.advance(10_000);
      // The kernel has retransmitted a few times by then, each time after twice the delay.
      await sleep(8_000);
      expect(echoing.ending).toBeUndefined();
      await pass(clock, 3, 100);
      for (const { target, ending } of [stalled, echoing]) {
        expect(ending).toMatchObject({
          code: 'target_reset',
          message: expect.stringMatching(/connection timed out: no acknowledgement for \d+ s$/),
        });
        target.onClose(ending);
      }
      await expect.poll(() => open.size).toBe(0);
    });
  },
);
