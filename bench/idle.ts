import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { makeTestCertificates } from '../testkit/world/certificates.ts';
import { freePort, type Program } from '../testkit/processes/process.ts';
import { startCulvert, TestTokens } from '../testkit/world/world.ts';
import { cpuSeconds, residentBytes } from './cpu.ts';
import type { ScaleRow } from './report.ts';

const kib = 1024;

/** Time for V8 to detect idleness and to release unused memory, which takes two minutes or more. */
const restMs = 240_000;

class IdleAgents implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  constructor(url: string, tokensFile: string, count: number, ca: string | undefined) {
    const script = fileURLToPath(new URL('idle-agents.ts', import.meta.url));
    const args = [script, url, tokensFile, `${count}`, ...(ca === undefined ? [] : [ca])];
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async ask(command: string): Promise<Record<string, number>> {
    this.#child.stdin.write(`${command}\n`);
    const { value } = (await this.#lines.next()) as { value: string };
    return JSON.parse(value) as Record<string, number>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** Memory of a process after work: the least of several samples. */
async function settledBytes(program: Program): Promise<number> {
  let least = Infinity;
  for (let look = 0; look < 20; look++) {
    least = Math.min(least, residentBytes(program.pid));
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return least;
}

async function idleAndStorm(tls: boolean, count: number): Promise<ScaleRow[]> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-scale-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const tokens = await TestTokens.create(directory);
  const { server } = stack.use(await makeTestCertificates());
  const port = await freePort();
  const args = [
    ...['--token-public-key', tokens.publicKeyFile],
    ...[
      '--accept-rate',
      '1000',
      ...(tls ? ['--tls-cert', server.cert, '--tls-key', server.key] : []),
    ],
  ];
  const start = async (on = port): Promise<Program> => {
    const listen = ['--listen', `127.0.0.1:${on}`];
    const started = startCulvert('broker', [...listen, ...args], { CULVERT_LOG_LEVEL: 'error' });
    await started.waitForPort(on);
    return started;
  };
  let broker = await start();
  stack.defer(() => broker[Symbol.asyncDispose]());
  // Rests as long as the other broker, so that both are compared in the same state.
  const empty = stack.use(await start(await freePort()));
  const emptyBytes = await settledBytes(empty);
  const url = `${tls ? 'wss' : 'ws'}://127.0.0.1:${port}`;
  const issued = Array.from({ length: count }, (_, i) =>
    tokens.issue({ kind: 'agent', cluster: `c${i}` }),
  );
  const tokensFile = join(directory, 'tokens');
  await writeFile(tokensFile, (await Promise.all(issued)).join('\n'));
  const agents = stack.use(new IdleAgents(url, tokensFile, count, tls ? server.ca : undefined));
  await agents.ask('connect');
  const afterRush = ((await settledBytes(broker)) - emptyBytes) / count / kib;
  const idleFrom = cpuSeconds([broker.pid]);
  await new Promise((resolve) => setTimeout(resolve, restMs));
  const idleCpu = (cpuSeconds([broker.pid]) - idleFrom) / (restMs / 1000);
  const atRest = ((await settledBytes(broker)) - (await settledBytes(empty))) / count / kib;

  await agents.ask('storm');
  broker.kill('SIGKILL');
  await broker.exited;
  broker = await start();
  const storm = await agents.ask('wait-again');
  const stormCpu = cpuSeconds([broker.pid]);
  const kind = tls ? 'TLS' : 'plain';
  return [
    {
      figure: `RSS KiB per idle tunnel, ${kind}, ${count} at rest`,
      value: atRest,
      atMost: tls ? 90 : 12,
    },
    { figure: `RSS KiB per tunnel, ${kind}, right after all came at once`, value: afterRush },
    { figure: `CPU share of one core, idle, ${kind}`, value: idleCpu },
    {
      figure: `storm, ${kind}: seconds until all are back`,
      value: storm['backMaxMs']! / 1000,
      atMost: 60,
    },
    {
      figure: `storm, ${kind}: p99 seconds until an agent is back`,
      value: storm['backP99Ms']! / 1000,
    },
    {
      figure: `storm, ${kind}: agents not back after 180 s`,
      value: count - storm['connected']!,
      atMost: 0,
    },
    { figure: `storm, ${kind}: broker CPU seconds`, value: stormCpu },
    { figure: `storm, ${kind}: attempts refused for the moment`, value: storm['refused']! },
  ];
}

/** Memory of idle tunnels and the cost of a storm, plain and with TLS. */
export async function measureIdle(count: number): Promise<ScaleRow[]> {
  return [...(await idleAndStorm(false, count)), ...(await idleAndStorm(true, count))];
}
