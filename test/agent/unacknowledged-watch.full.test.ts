import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { HostPort } from '../../src/base/net/host-port.ts';
import { OpenTargets } from '../../src/agent/open-targets.ts';
import { TargetConnection } from '../../src/agent/target-connection.ts';
import { readTcpTable, type TcpState, tcpTableKey } from '../../src/agent/tcp-table.ts';
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

/** The kernel needs seconds for some retransmissions. */
const patient = { timeout: 60_000 };

/**
 * Passes ten virtual seconds repeatedly, until everything is over. After each, the watch has read
 * the kernel's table.
 */
async function pass(clock: VirtualClock, tens: number, isOver = () => false): Promise<void> {
  // The watch plans the next look after this one.
  const hasLooked = (): boolean => clock.pendingTimers === 1 || isOver();
  for (let count = 0; count < tens && !isOver(); count++) {
    await clock.advance(10_000);
    await expect.poll(hasLooked, { ...patient, interval: 2 }).toBe(true);
  }
}

/** The states of the connections of this process to a server. */
async function statesOf({ host, port }: HostPort): Promise<readonly TcpState[]> {
  const ends = { localAddress: host, localPort: 0, remoteAddress: host, remotePort: port };
  const [, server] = tcpTableKey(ends as Socket)!.split(' ');
  const table = await readFile('/proc/self/net/tcp', 'latin1');
  const isToServer = (key: string): boolean => key.endsWith(` ${server}`);
  return readTcpTable(table, { has: isToServer }).map(([, state]) => state);
}

/** Waits until all `count` connections to a server are in such a state. */
async function allAre(to: HostPort, count: number, is: (state: TcpState) => boolean) {
  const inState = async () => (await statesOf(to)).filter((state) => is(state)).length;
  await expect.poll(inState, patient).toBe(count);
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
      const to = { host: '127.0.0.1', port };
      await allAre(to, 1, ({ unacknowledgedBytes }) => unacknowledgedBytes > 0);
      await pass(clock, 60);
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
      await pass(clock, 10);
      expect(open.size).toBe(2);

      await namespace.cut();
      echoing.target.onData(Buffer.from('hello again'));
      await allAre(to, 2, ({ unacknowledgedBytes }) => unacknowledgedBytes > 0);
      await pass(clock, 2);
      // The kernel retransmits each time after twice the delay, and probes a closed window likewise.
      await allAre(to, 2, (state) => state.retransmissions >= 4 || state.unansweredProbes >= 3);
      for (const { ending } of [stalled, echoing]) expect(ending).toBeUndefined();
      const areOver = (): boolean => [stalled, echoing].every(({ ending }) => ending !== undefined);
      await pass(clock, 4, areOver);
      for (const { target, ending } of [stalled, echoing]) {
        expect(ending).toMatchObject({
          code: 'target_reset',
          message: expect.stringMatching(/connection timed out: no acknowledgement for \d+ s$/),
        });
        target.onClose(ending);
      }
      await expect.poll(() => open.size).toBe(0);
    }, 120_000);
  },
);
