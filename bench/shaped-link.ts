import { setTimeout as sleep } from 'node:timers/promises';
import type { GoPrograms, UpstreamPrograms } from '../testkit/ground/go-programs.ts';
import { runProgram, startProgram } from '../testkit/processes/process.ts';
import { runLoad } from './load.ts';
import { startPeers, type PeerName } from './peers.ts';
import { format, median } from './report.ts';

interface Shape {
  readonly title: string;
  readonly mbit: number;
  /** The time that each direction takes, in milliseconds. */
  readonly delayMs: number;
  /** The share of lost packets. */
  readonly loss: number;
}

const shapes: readonly Shape[] = [
  { title: '1 Gb/s', mbit: 1000, delayMs: 0, loss: 0 },
  { title: '2.5 Gb/s', mbit: 2500, delayMs: 0, loss: 0 },
  { title: '1 Gb/s, 20 ms round trip', mbit: 1000, delayMs: 10, loss: 0 },
  { title: '1 Gb/s, 20 ms round trip, 1 % loss', mbit: 1000, delayMs: 10, loss: 0.01 },
];
const repetitions = 3;
const linkTimeoutMs = 10 * 60_000;
const directions = ['read', 'write'] as const;
const names: readonly PeerName[] = ['direct', 'culvert', 'upstream'];
// Documentation addresses (RFC 5737).
const [hubHost, clusterHost] = ['203.0.113.1', '203.0.113.2'];

/**
 * Measures each link in a process of its own, which runs in the network namespace of the hub.
 *
 * @returns the exit code
 */
export async function measureLinks(go: GoPrograms, only: string | undefined): Promise<number> {
  for (const [index, shape] of shapes.entries()) {
    if (only !== undefined && only !== `${index}`) continue;
    await using link = await ShapedLink.create(go, shape);
    const { hub, cluster } = link;
    const bench = [process.execPath, process.argv[1]!, 'link', '--inside', `${cluster},${index}`];
    const args = ['netns', 'exec', hub, ...bench];
    const { code, output } = await runProgram({ command: 'ip', args, timeoutMs: linkTimeoutMs });
    console.log(output);
    if (code !== 0) return code ?? 1;
  }
  return 0;
}

/** Measures one link and prints its table: MB/s, and the share of direct. */
export async function measureInside(
  go: GoPrograms,
  upstream: UpstreamPrograms,
  inside: string,
): Promise<void> {
  const [cluster = '', index = ''] = inside.split(',');
  const prefix = ['ip', 'netns', 'exec', cluster];
  const agentPlace = { prefix, serverHost: hubHost, targetHost: clusterHost };
  await using peers = await startPeers(go, upstream, { names, front: 'mtls', agentPlace });
  const samples = new Map<string, number[]>();
  for (let repetition = 0; repetition < repetitions; repetition++) {
    for (const direction of directions) {
      for (const name of names) {
        const command = direction === 'read' ? 'drain' : 'blast';
        const time = ['--seconds', '3', '--warmup', '2'];
        const { mbPerSecond } = await runLoad(go, peers.byName.get(name)!, command, time);
        const cell = `${direction} ${name}`;
        samples.set(cell, [...(samples.get(cell) ?? []), mbPerSecond]);
      }
    }
  }
  const at = (direction: string, name: PeerName): number =>
    median(samples.get(`${direction} ${name}`) ?? []);
  console.log(
    `\n| ${shapes[Number(index)]!.title} | direct | culvert | Go | culvert / direct | Go / direct |`,
  );
  console.log('|---|---:|---:|---:|---:|---:|');
  for (const direction of directions) {
    const [direct, ours, theirs] = names.map((name) => at(direction, name)) as [
      number,
      number,
      number,
    ];
    const shares = [ours / direct, theirs / direct].map((share) => share.toFixed(3));
    const speeds = [direct, ours, theirs].map(format);
    console.log(`| ${direction} MB/s | ${[...speeds, ...shares].join(' | ')} |`);
  }
}

/** Two network namespaces, joined by a link with a rate, a delay and losses. */
class ShapedLink implements AsyncDisposable {
  readonly hub: string;
  readonly cluster: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(hub: string, cluster: string, stack: AsyncDisposableStack) {
    this.hub = hub;
    this.cluster = cluster;
    this.#stack = stack;
  }

  static async create(go: GoPrograms, shape: Shape): Promise<ShapedLink> {
    const id = process.pid.toString(36);
    const [hub, cluster] = [`culvert-${id}h`, `culvert-${id}c`];
    const ends = [
      { namespace: hub, name: `cv${id}h`, address: hubHost },
      { namespace: cluster, name: `cv${id}c`, address: clusterHost },
    ] as const;
    await using stack = new AsyncDisposableStack();
    for (const { namespace } of ends) {
      await run('ip', 'netns', 'add', namespace);
      stack.defer(() => run('ip', 'netns', 'delete', namespace));
      await run('ip', '-n', namespace, 'link', 'set', 'lo', 'up');
    }
    const [a, b] = [ends[0].name, ends[1].name];
    const isKernel = shape.delayMs === 0 && shape.loss === 0;
    if (isKernel) {
      await run('ip', 'link', 'add', a, 'type', 'veth', 'peer', 'name', b);
    } else {
      const flags = ['--mbit', `${shape.mbit}`, '--delay', `${shape.delayMs}ms`];
      const args = ['link', '--a', a, '--b', b, ...flags, '--loss', `${shape.loss}`];
      const carrier = stack.use(startProgram({ command: go.load, args, name: 'link' }));
      await carrier.waitForLine(/linked/);
    }
    for (const { namespace, name, address } of ends) {
      await run('ip', 'link', 'set', name, 'netns', namespace);
      const peer = address === hubHost ? clusterHost : hubHost;
      const addresses = isKernel ? [`${address}/24`] : [address, 'peer', peer];
      await run('ip', '-n', namespace, 'address', 'add', ...addresses, 'dev', name);
      await run('ip', '-n', namespace, 'link', 'set', name, 'up');
      if (!isKernel) continue;
      const bucket = ['rate', `${shape.mbit}mbit`, 'burst', '256kb', 'latency', '50ms'];
      await run('tc', '-n', namespace, 'qdisc', 'add', 'dev', name, 'root', 'tbf', ...bucket);
    }
    // A veth is up a moment after both of its ends are.
    await sleep(200);
    return new ShapedLink(hub, cluster, stack.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

async function run(command: string, ...args: string[]): Promise<void> {
  const { code, output } = await runProgram({ command, args });
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}: ${output}`);
}
