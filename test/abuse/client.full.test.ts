import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runClient } from '../../testkit/ground/konnectivity-client.ts';
import { echo, ended, openClient, startDownload } from '../../testkit/world/front-client.ts';
import { patternAt, patternSha256 } from '../../testkit/stream/pattern.ts';
import { startProgram } from '../../testkit/processes/process.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { node, startWorld, type World } from '../../testkit/world/world.ts';

const mib = 1024 * 1024;
const downloadCount = 16;
const clientProgram = fileURLToPath(
  new URL('../../testkit/world/downloading-client.ts', import.meta.url),
);

/** The bytes that one connection to a `SendingTarget` received, and how it ended. */
interface Sending {
  readonly hash: () => string;
  receivedBytes: number;
  /** The code of the error that ended it. */
  error: string | undefined;
}

/** A target that sends without end on every connection, and reads `readBytes` every 10 ms. */
class SendingTarget implements AsyncDisposable {
  readonly connections: Sending[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer(
    { pauseOnConnect: true, noDelay: true, allowHalfOpen: true },
    (socket) => this.#serve(socket),
  );
  readonly #readBytes: number;
  #sentBytes = 0;

  private constructor(readBytes: number) {
    this.#readBytes = readBytes;
  }

  static async start(readBytes = Infinity): Promise<SendingTarget> {
    const target = new SendingTarget(readBytes);
    target.#server.listen(0, '127.0.0.1');
    await once(target.#server, 'listening');
    return target;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The bytes that the kernel has accepted on all connections. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  get openCount(): number {
    return this.#sockets.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    const hash = createHash('sha256');
    const seen: Sending = {
      receivedBytes: 0,
      error: undefined,
      hash: () => hash.copy().digest('hex'),
    };
    this.connections.push(seen);
    this.#sockets.add(socket);
    const piece = patternAt(0, 64 * 1024);
    const send = (): void => {
      socket.write(piece, (error) => {
        if (error) return;
        this.#sentBytes += piece.length;
        setImmediate(send);
      });
    };
    send();
    let allowedBytes = 0;
    const timer = setInterval(() => {
      allowedBytes += this.#readBytes;
      if (allowedBytes > 0) socket.resume();
    }, 10);
    socket.on('data', (bytes: Buffer) => {
      hash.update(bytes);
      seen.receivedBytes += bytes.length;
      allowedBytes -= bytes.length;
      if (allowedBytes <= 0) socket.pause();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => (seen.error = error.code));
    socket.on('close', () => {
      clearInterval(timer);
      this.#sockets.delete(socket);
    });
  }
}

/** The median time of an honest round trip, in milliseconds. */
async function roundTripMs(connection: Duplex): Promise<number> {
  const times: number[] = [];
  for (let count = 0; count < 40; count++) {
    const startedAtMs = performance.now();
    await echo(connection, 'x');
    times.push(performance.now() - startedAtMs);
  }
  return times.sort((a, b) => a - b)[times.length / 2]!;
}

/** Waits a minute, and ten seconds more because the machine may be busy. */
async function loggedWithin({ bridge }: World, event: string): Promise<void> {
  await bridge.waitForLine(new RegExp(`"event":"${event}"`), { timeoutMs: 70_000 });
}

/** Bytes that the target sends in a second, measured from one second after now. */
async function rateAfterASecond(target: SendingTarget): Promise<number> {
  await sleep(1_000);
  const before = target.sentBytes;
  const startedAtMs = performance.now();
  await sleep(1_000);
  return ((target.sentBytes - before) / (performance.now() - startedAtMs)) * 1_000;
}

for (const bridgeApart of [false, true]) {
  describe(`A client that aborts its downloads, with the bridge ${bridgeApart ? 'in a process of its own' : "in the broker's process"}`, () => {
    let world: World;
    let echoing: TestTarget;
    let honest: KonnectivityClient;
    let probe: Duplex;
    let idleRoundTripMs: number;
    beforeAll(async () => {
      world = await startWorld({ bridgeApart });
      echoing = await startTarget({ mode: 'echo' });
      honest = await openClient(world.front);
      probe = await honest.dial(`cluster1:${echoing.port}`);
      await roundTripMs(probe);
      idleRoundTripMs = await roundTripMs(probe);
    }, 30_000);
    afterAll(async () => {
      honest?.close();
      await Promise.all([world?.[Symbol.asyncDispose](), echoing?.close()]);
    });

    const ways = [
      {
        how: 'closes them',
        abort: (_: KonnectivityClient, downloads: readonly Duplex[]) => {
          for (const download of downloads) download.end();
        },
      },
      {
        how: 'cancels their calls',
        abort: (_: KonnectivityClient, downloads: readonly Duplex[]) => {
          for (const download of downloads) download.destroy();
        },
      },
      {
        how: 'drops its connection',
        abort: (client: KonnectivityClient) => client.close(),
      },
    ];

    it.each(ways)(
      'A client that aborts its downloads and $how leaves nothing behind that costs other clients',
      { timeout: 60_000 },
      async ({ abort }) => {
        await using target = await SendingTarget.start();
        using cleanup = new DisposableStack();
        const client = await openClient(world.front);
        cleanup.defer(() => client.close());
        const downloads = await Promise.all(
          Array.from({ length: downloadCount }, () =>
            startDownload(client, `cluster1:${target.port}`),
          ),
        );
        abort(client, downloads);
        expect(await rateAfterASecond(target)).toBeLessThan(mib);
        await expect
          .poll(() => roundTripMs(probe), { timeout: 20_000 })
          .toBeLessThan(5 * idleRoundTripMs + 1);
        await expect.poll(() => target.openCount, { timeout: 15_000 }).toBe(0);
        // A target that keeps sending gets RST.
        const errors = target.connections.map(({ error }) => error);
        expect(errors.every((error) => error === 'ECONNRESET' || error === 'EPIPE')).toBe(true);
      },
    );

    it(
      'A client that aborts its download still has all its written bytes delivered to a slow target that sends without end',
      { timeout: 60_000 },
      async () => {
        const bytes = 12 * mib;
        await using target = await SendingTarget.start(64 * 1024);
        await using client = await openClient(world.front);
        const connection = await startDownload(client, `cluster1:${target.port}`);
        for (let at = 0; at < bytes;) {
          const piece = patternAt(at, bytes - at);
          at += piece.length;
          connection.write(piece);
        }
        connection.end();
        await ended(connection);
        const [seen] = target.connections;
        await expect.poll(() => seen!.receivedBytes, { timeout: 50_000 }).toBe(bytes);
        expect(seen!.hash()).toBe(patternSha256(bytes));
      },
    );
  });
}

describe('A client that vanishes in the middle of a download', () => {
  // Its kernel continues to acknowledge, so only the bridge's PING finds out. This needs real time.
  it(
    'A client that vanishes during a download is found within a minute, and its target is closed',
    { timeout: 120_000 },
    async () => {
      await using world = await startWorld();
      await using target = await SendingTarget.start();
      await using client = startProgram({
        command: node,
        args: [clientProgram, JSON.stringify(world.front), `cluster1:${target.port}`],
      });
      await client.waitForLine(/^downloading$/);
      client.kill('SIGSTOP');
      try {
        await loggedWithin(world, 'konnectivity client does not answer, its connection is closed');
        await expect.poll(() => target.openCount, { timeout: 10_000 }).toBe(0);
      } finally {
        client.kill('SIGKILL');
      }
    },
  );
});

describeWith({ go: await ground.go() }, 'The Go client that ends 16 downloads', ({ go }) => {
  it(
    'The Go client that ends 16 downloads leaves no target sending',
    { timeout: 100_000 },
    async () => {
      await using world = await startWorld();
      await using target = await SendingTarget.start();
      const to = `cluster1:${target.port}`;
      const args = ['--to', to, '--stalled-to', to, '--direction', 'down', '--window', '1s'];
      await runClient(go, world.front, 'isolation', ...args, '--streams', String(downloadCount));
      expect(target.connections.length).toBeGreaterThanOrEqual(downloadCount);
      expect(await rateAfterASecond(target)).toBeLessThan(mib);
      // The client's process has ended. Node's TLS sometimes does not report a connection that
      // breaks during a write. Then the PING finds it.
      await expect.poll(() => target.openCount, { timeout: 60_000 }).toBe(0);
    },
  );
});
