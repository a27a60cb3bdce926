import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { podName } from '../../testkit/ground/http/managed-api.ts';
import type { Kubectl } from '../../testkit/ground/kubernetes/kubectl.ts';
import { waitFor } from '../../testkit/ground/kubernetes/wait.ts';
import { startProgram } from '../../testkit/processes/process.ts';
import { Plane } from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';

/** `E2E_HTTP_MINUTES=10` is the whole run of client-go; CI has less time. */
const followMs = Number(process.env['E2E_HTTP_MINUTES'] ?? '2') * 60_000;
const killIntervalMs = 20_000;
const downMs = 1000;
const programs = await planePrograms();

describe('A broker that is killed while a gateway of its own process serves clients', () => {
  let plane: Plane;
  let kubectl: Kubectl;
  let token: string;

  beforeAll(async () => {
    plane = await Plane.start(programs, { clusters: ['cluster1'], gatewayApart: true });
    token = await plane.adminToken('cluster1');
    kubectl = await plane.kubectl('cluster1', token);
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  const start = (...args: string[]) =>
    startProgram({ ...kubectl.commandLine(args), name: `kubectl ${args.join(' ')}` });

  it.each([
    { protocol: 'WebSocket', program: programs.kubernetes.kubectl },
    { protocol: 'SPDY', program: programs.http.oldKubectl },
  ])('keeps an exec session over $protocol', async ({ program }) => {
    const own = await plane.kubectl('cluster1', token, program);
    const { command, args } = own.commandLine(['exec', '-i', podName, '--', 'cat']);
    await using session = new Conversation(
      spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] }),
    );
    expect(await session.ask('before')).toBe('before');
    await plane.killBroker(downMs);
    expect(await session.ask('after')).toBe('after');
    expect(await session.end()).toBe(0);
  });

  it('keeps a watch, which misses no event', async () => {
    await kubectl.run(['create', 'configmap', 'watched', '--from-literal=round=0']);
    const columns = ['-o', 'custom-columns=ROUND:.data.round', '--no-headers'];
    await using watching = start('get', 'configmap', 'watched', '-w', ...columns);
    await watching.waitForLine(/^0$/);
    const patch = (round: number) =>
      plane
        .api('cluster1')
        .server.kubectl(['patch', 'configmap', 'watched', `-p={"data":{"round":"${round}"}}`]);
    await patch(1);
    await watching.waitForLine(/^1$/);
    const killed = plane.killBroker(downMs);
    for (let round = 2; round < 6; round++) await patch(round);
    await killed;
    await patch(6);
    await watching.waitForLine(/^6$/);
    expect(watching.stdout.trim().split('\n')).toEqual(['0', '1', '2', '3', '4', '5', '6']);
  });

  it('keeps a forwarded port and its connections', async () => {
    const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    await using forward = start(
      'port-forward',
      podName,
      `:${(echo.address() as AddressInfo).port}`,
    );
    const [, port] = await forward.waitForLine(/127\.0\.0\.1:(\d+) ->/);
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    const sent: Buffer[] = [];
    const received: Buffer[] = [];
    let receivedBytes = 0;
    socket.on('data', (bytes) => {
      received.push(bytes);
      receivedBytes += bytes.length;
    });
    const send = async (): Promise<void> => {
      const bytes = randomBytes(256 * 1024);
      sent.push(bytes);
      socket.write(bytes);
      const expected = sent.reduce((sum, { length }) => sum + length, 0);
      await waitFor(async () => receivedBytes === expected, { what: 'echo', timeoutMs: 60_000 });
    };
    await send();
    const killed = plane.killBroker(downMs);
    await send();
    await killed;
    await send();
    expect(Buffer.concat(received).equals(Buffer.concat(sent))).toBe(true);
    const later = connect(Number(port), '127.0.0.1');
    later.write('a later connection');
    const [bytes] = (await once(later, 'data')) as [Buffer];
    expect(bytes.toString()).toBe('a later connection');
    socket.destroy();
    later.destroy();
    echo.close();
  });

  it(
    'makes informers of client-go list no more often than a restart of kube-apiserver does',
    { timeout: followMs + 180_000 },
    async () => {
      const kubeconfig = await plane.kubeconfig('cluster1', token);
      const args = ['--kubeconfig', kubeconfig];
      const child = spawn(programs.http.informers, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      await using stack = new AsyncDisposableStack();
      stack.defer(() => void child.kill('SIGKILL'));
      const lines: Informers[] = [];
      createInterface({ input: child.stdout }).on('line', (line) =>
        lines.push(JSON.parse(line) as Informers),
      );
      await waitFor(async () => lines.some(({ event }) => event === 'synced'), {
        what: 'synced informers',
        timeoutMs: 60_000,
      });
      const until = Date.now() + followMs;
      let kills = 0;
      while (Date.now() < until) {
        await plane.killBroker(downMs);
        kills++;
        await sleep(Math.min(killIntervalMs, Math.max(0, until - Date.now())));
      }
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
      const last = lines.at(-1)!;
      console.log(`${kills} kills in ${followMs / 1000} s: ${JSON.stringify(last)}`);
      expect(child.exitCode).toBe(0);
      expect(last.event).toBe('done');
      expect(last.writes).toBeGreaterThan(kills);
      // Both informers list once when they start. After a restart of kube-apiserver, they list
      // once more each.
      expect(last.lists).toBeLessThanOrEqual(2);
      expect(last.failedWrites).toBe(0);
    },
  );
});

interface Informers {
  readonly event?: 'synced' | 'done';
  readonly lists: number;
  readonly watches: number;
  readonly writes: number;
  readonly failedWrites: number;
}

/** A program that answers lines. */
class Conversation implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin!.write(`${line}\n`);
    const { value } = (await this.#lines.next()) as { value: string };
    return value;
  }

  /** Ends its stdin. @returns its exit code */
  async end(): Promise<number | null> {
    this.#child.stdin!.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}
