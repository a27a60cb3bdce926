import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { ReplicaKeys } from '../../src/broker/replica-keys.ts';
import { aliasOf } from '../../src/broker/redis/redis-entry.ts';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { RedisServer } from '../broker/redis/redis-ground.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { freePort, type Program } from '../../testkit/processes/process.ts';
import { handshakeText } from '../../testkit/link/raw-websocket.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { loggedLine, startCulvert, TestTokens } from '../../testkit/world/world.ts';
import { costOfAttack } from './attack-cost.ts';

const mib = 1024 * 1024;
const replicaKey = 'the key that both replicas share';

/** The attacker is on the wire between two replicas. It reads their requests and can drop them. */
class Wire {
  readonly server: Server;
  readonly #requests: string[] = [];
  readonly #sockets = new Set<Socket>();
  /** The attacker passes nothing on, so the other replica never sees the request. */
  isCut = false;

  constructor(to: number) {
    this.server = createServer((near) => {
      this.#keep(near);
      let head = '';
      near.on('data', (bytes: Buffer) => {
        if (head.includes('\r\n\r\n')) return;
        head += bytes.toString('latin1');
        const [request, rest] = head.split('\r\n\r\n');
        if (rest !== undefined) this.#requests.push(request!);
      });
      if (this.isCut) return;
      const far = connect(to, '127.0.0.1');
      this.#keep(far);
      near.pipe(far).pipe(near);
    });
  }

  static async open(to: number): Promise<Wire> {
    const wire = new Wire(to);
    wire.server.listen(0, '127.0.0.1');
    await once(wire.server, 'listening');
    return wire;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** The headers of the proof in the last request that was seen. */
  get proof(): Readonly<Record<string, string>> {
    const lines = this.#requests.at(-1)!.split('\r\n').slice(1);
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    return {
      'Culvert-Replica': headers.get('culvert-replica')!,
      'Culvert-Dialer': headers.get('culvert-dialer')!,
    };
  }

  get seen(): number {
    return this.#requests.length;
  }

  /** Ends the open connections, and forgets the requests that were seen. */
  reset(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#requests.length = 0;
    this.isCut = false;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

/** Requests a session from the attacker's own address, and resolves with the answer's status. */
async function askFrom(
  port: number,
  cluster: string,
  proof: Readonly<Record<string, string>>,
): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
  socket.on('error', () => {});
  socket.write(handshakeText(`/v1/clusters/${cluster}/session`, proof));
  const status = Promise.withResolvers<string>();
  socket.once('data', (bytes: Buffer) => status.resolve(bytes.toString('latin1').slice(9, 12)));
  socket.once('close', () => status.resolve('closed'));
  try {
    return await status.promise;
  } finally {
    socket.destroy();
  }
}

const real = { redis: await ground.debian('redis-server') };

describeWith(real, 'An attacker between two replicas', ({ redis }) => {
  let directory: string;
  let parts: AsyncDisposableStack;
  let store: RedisServer;
  let target: TestTarget;
  /** Has the agents; the other replica reaches it over the wire of the attacker. */
  let holder: Program;
  let holderPort: number;
  /** Has the front for clients. */
  let entrancePort: number;
  let wire: Wire;
  let client: KonnectivityClient;

  beforeAll(async () => {
    parts = new AsyncDisposableStack();
    directory = await mkdtemp(join(tmpdir(), 'culvert-replica-abuse-'));
    parts.defer(() => rm(directory, { recursive: true, force: true }));
    store = parts.use(await RedisServer.start(redis));
    target = await startTarget({ mode: 'echo' });
    parts.defer(() => target.close());
    const tokens = await TestTokens.create(directory);
    const keyFile = join(directory, 'replica.key');
    await writeFile(keyFile, replicaKey);
    [holderPort, entrancePort] = [await freePort(), await freePort()];
    wire = await Wire.open(holderPort);
    parts.defer(() => {
      wire.reset();
      wire.server.close();
    });
    const startBroker = (port: number, address: number, args: readonly string[] = []): Program => {
      const own = ['--listen', `127.0.0.1:${port}`, '--replica-id', `broker-${port}`];
      const shared = ['--redis-url', store.url, '--replica-key-file', keyFile];
      return startCulvert('broker', [
        ...[...own, ...shared, '--token-public-key', tokens.publicKeyFile],
        ...['--replica-address', `ws://127.0.0.1:${address}`, ...args],
      ]);
    };
    holder = parts.use(startBroker(holderPort, wire.port));
    const front = ['--konnectivity-listen', '127.0.0.1:0'];
    const entrance = parts.use(startBroker(entrancePort, entrancePort, front));
    await loggedLine(holder, 'broker listens');
    const { addresses } = await loggedLine(entrance, 'konnectivity bridge listens');
    for (const cluster of ['c1', 'c2']) {
      const token = await tokens.issue({ kind: 'agent', cluster });
      const link = ['--broker-url', `ws://127.0.0.1:${holderPort}`, '--cluster', cluster];
      const own = ['--token-file', await tokens.file(token), '--kube-apiserver', '127.0.0.1'];
      const agent = parts.use(startCulvert('agent', [...link, ...own, '--tunnels', '1']));
      await loggedLine(agent, 'connected to the broker');
    }
    client = await openClient({ address: (addresses as [string])[0] });
    parts.defer(() => client.close());
  }, 60_000);
  afterAll(() => parts?.disposeAsync());

  const serve = (cluster: string) => isServed(client, `${cluster}:${target.port}`);

  beforeEach(() => wire.reset());

  /** Makes the entrance forward a session with `cluster`, and waits until the attacker has seen the proof. */
  async function overhear(cluster: string): Promise<Readonly<Record<string, string>>> {
    await expect
      .poll(
        async () => {
          // The dialer reuses an existing session, and makes another only if the link is gone.
          if (wire.seen === 0) void serve(cluster).catch(() => {});
          return wire.seen;
        },
        { timeout: 30_000, interval: 500 },
      )
      .toBeGreaterThan(0);
    return wire.proof;
  }

  it('An attacker between two replicas cannot use a proof that has arrived before', async () => {
    const proof = await overhear('c1');
    await expect.poll(() => serve('c1').catch(() => false), { timeout: 30_000 }).toBe(true);
    for (const cluster of ['c1', 'c1', 'c2']) {
      expect(await askFrom(holderPort, cluster, proof)).toBe('401');
    }
    expect(await serve('c1')).toBe(true);
  }, 90_000);

  it('An attacker between two replicas cannot use an intercepted proof for another cluster or at another replica', async () => {
    wire.isCut = true;
    const proof = await overhear('c1');
    expect(await askFrom(entrancePort, 'c1', proof)).toBe('401');
    expect(await askFrom(holderPort, 'c2', proof)).toBe('403');
    wire.reset();
    await expect.poll(() => serve('c1').catch(() => false), { timeout: 30_000 }).toBe(true);
  }, 90_000);

  it('An attacker between two replicas cannot use a proof from too long ago or from the future', async () => {
    const address = `ws://127.0.0.1:${wire.port}/`;
    const proveAt = async (secondsFromNow: number) => {
      const nowS = () => Math.floor(Date.now() / 1000) + secondsFromNow;
      const keys = await ReplicaKeys.fromText(replicaKey, nowS);
      return (await keys.prove(address, 'c1', 'attacker')).headers;
    };
    // The proof is signed with the real key, so only its time can be the reason for the refusal.
    expect(await askFrom(holderPort, 'c1', await proveAt(0))).toBe('101');
    expect(await askFrom(holderPort, 'c1', await proveAt(-70))).toBe('401');
    expect(await askFrom(holderPort, 'c1', await proveAt(70))).toBe('401');
  });

  it('An attacker between two replicas gains nothing with a directory entry that leads to itself', async () => {
    const alias = aliasOf('c1');
    const key = `culvert:{${alias}}`;
    const fields = (await store.call('HKEYS', key)) as string[];
    const tunnel = fields.find((name) => name.startsWith('0/'))!;
    const entry = (await store.call('HGET', key, tunnel)) as string;
    const trap = await Wire.open(holderPort);
    trap.isCut = true;
    const poisoned = entry.replace(`ws://127.0.0.1:${wire.port}`, `ws://127.0.0.1:${trap.port}`);
    expect(poisoned).not.toBe(entry);
    const poison = async (): Promise<number> => {
      await store.call('HSET', key, tunnel, poisoned);
      // The holder would repair the entry at once if it learned of a change. So the attacker only
      // breaks the existing sessions.
      wire.reset();
      void serve('c1').catch(() => {});
      return trap.seen;
    };
    try {
      await expect.poll(poison, { timeout: 30_000, interval: 500 }).toBeGreaterThan(0);
      // The proof is valid for the attacker's own address only.
      for (const port of [holderPort, entrancePort]) {
        expect(await askFrom(port, 'c1', trap.proof)).toBe('401');
      }
      await expect.poll(() => serve('c2').catch(() => false), { timeout: 30_000 }).toBe(true);
    } finally {
      trap.reset();
      trap.server.close();
    }
    // The holder writes its own entry again every few seconds.
    await expect.poll(() => serve('c1').catch(() => false), { timeout: 60_000 }).toBe(true);
  }, 120_000);

  it('An attacker between two replicas costs the replica little with forged and repeated proofs, and its peers nothing', async () => {
    const seen = await overhear('c1');
    await expect.poll(() => serve('c2').catch(() => false), { timeout: 30_000 }).toBe(true);
    const [seconds] = seen['Culvert-Replica']!.split(' ');
    const forged = { ...seen, 'Culvert-Replica': `${seconds} ${'ab'.repeat(32)}` };
    const answers = new Set<string>();
    const attack = async (): Promise<void> => {
      for (let round = 0; round < 60; round++) {
        const proofs = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? forged : seen));
        const given = await Promise.all(proofs.map((proof) => askFrom(holderPort, 'c1', proof)));
        for (const answer of given) answers.add(answer);
      }
    };
    const cost = await costOfAttack(holder, attack, () => serve('c2'));
    expect([...answers].filter((answer) => !['401', '503'].includes(answer))).toEqual([]);
    expect(cost.failedProbes).toEqual([]);
    expect(cost.goodProbes).toBeGreaterThan(0);
    expect(cost.grownBytes).toBeLessThan(150 * mib);
  }, 90_000);
});
