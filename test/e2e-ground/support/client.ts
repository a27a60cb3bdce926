import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import {
  findGoBuild,
  prepareGoBuild,
  type GoBuild,
  type Report,
} from '../../../testkit/ground/go-build.ts';
import type { GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import { hubNamespace } from './names.ts';
import { secretOf, textIn } from './secrets.ts';

const build: GoBuild = {
  title: 'the client of the end to end tests',
  name: 'e2e-client',
  moduleDirectory: fileURLToPath(new URL('../go', import.meta.url)),
  packages: { client: './client' },
  duration: 'about a minute',
};

export async function prepareClient(report: Report): Promise<void> {
  const directory = await prepareGoBuild(build, report);
  if (typeof directory === 'string') return;
  throw new Error(`${directory.missing} is missing: ${directory.reason}`);
}

export type ClientCommand = 'healthz' | 'pods' | 'watch' | 'download';

/** The line of JSON that the client prints. Other fields depend on the command. */
export interface ClientResult {
  readonly ok: boolean;
  readonly error?: string;
  readonly [more: string]: unknown;
}

/** The counts that a running load prints each second, and at its end. */
export interface LoadCounts {
  readonly requests: number;
  readonly failed: number;
  readonly slowestMs: number;
  readonly bytes: number;
  readonly errors: readonly string[] | null;
}

/**
 * A user on the hub: client-go over konnectivity-client, with the Secrets and the code of Cluster
 * Proxy's README.
 * The managed cluster sees an administrator's certificate through the tunnel.
 */
export class HubClient implements AsyncDisposable {
  readonly #hub: GroundCluster;
  readonly #program: string;
  readonly #directory: string;
  readonly #proxy: string;

  private constructor(hub: GroundCluster, program: string, directory: string, proxy: string) {
    this.#hub = hub;
    this.#program = program;
    this.#directory = directory;
    this.#proxy = proxy;
  }

  /** @param shown instead of what the Secret `proxy-client` holds */
  static async open(
    hub: GroundCluster,
    shown?: { readonly cert: string; readonly key: string },
  ): Promise<HubClient> {
    const programs = await findGoBuild(build);
    if (typeof programs !== 'string') throw new Error(`${programs.missing}: ${programs.reason}`);
    const { spec } = await hub.get<{ spec: { clusterIP: string } }>(
      ...['-n', hubNamespace, 'service', 'proxy-entrypoint'],
    );
    const directory = await mkdtemp(join(tmpdir(), 'culvert-e2e-'));
    const program = join(programs, 'client');
    const client = new HubClient(hub, program, directory, `${spec.clusterIP}:8090`);
    await client.readSecrets(shown);
    return client;
  }

  /** Copies the present Secrets of the hub, all at once, like the volume of a pod. */
  async readSecrets(shown?: { readonly cert: string; readonly key: string }): Promise<void> {
    const directory = await mkdtemp(join(this.#directory, 'credentials-'));
    const ca = await secretOf(this.#hub, hubNamespace, 'proxy-server-ca');
    const client = await secretOf(this.#hub, hubNamespace, 'proxy-client');
    const { cert = textIn(client, 'tls.crt'), key = textIn(client, 'tls.key') } = shown ?? {};
    await writeFile(join(directory, 'ca.crt'), textIn(ca, 'ca.crt'));
    await writeFile(join(directory, 'tls.crt'), cert);
    await writeFile(join(directory, 'tls.key'), key, { mode: 0o600 });
    await symlink(directory, `${directory}.link`);
    await rename(`${directory}.link`, join(this.#directory, 'credentials'));
  }

  /** Runs a command of the client. Also returns a result that is not `ok`. */
  async run(
    command: ClientCommand,
    cluster: GroundCluster,
    args: readonly string[] = [],
  ): Promise<ClientResult> {
    const { command: nsenter, args: entered, env } = this.#commandLine(command, cluster, args);
    const child = spawn(nsenter, entered, { env, stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = await Promise.all([text(child.stdout), once(child, 'close')]);
    return JSON.parse(line) as ClientResult;
  }

  /** The result of a run that must succeed. */
  async succeed(
    command: ClientCommand,
    cluster: GroundCluster,
    args: readonly string[] = [],
  ): Promise<ClientResult> {
    const result = await this.run(command, cluster, args);
    if (!result.ok) throw new Error(`${command} at ${cluster.name}: ${result.error}`);
    return result;
  }

  /** Repeats requests. Also reads an endless body if the arguments name its path. */
  load(cluster: GroundCluster, args: readonly string[] = []): RunningLoad {
    const line = this.#commandLine('load', cluster, ['--timeout=0', ...args]);
    return new RunningLoad(cluster.name, line);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  #commandLine(command: string, cluster: GroundCluster, args: readonly string[]) {
    const { env, ...line } = this.#hub.enter(this.#program, [
      command,
      `--proxy=${this.#proxy}`,
      `--credentials=${join(this.#directory, 'credentials')}`,
      ...[`--cluster=${cluster.name}`, `--kubeconfig=${cluster.kubeconfigFile}`],
      ...args,
    ]);
    return { ...line, env: { ...process.env, ...env } };
  }
}

interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

/** A running load. `stop` ends it and returns its result. */
export class RunningLoad implements AsyncDisposable {
  readonly cluster: string;
  readonly #child: ReturnType<typeof start>;
  readonly #ended: Promise<unknown>;
  #counts: LoadCounts = { requests: 0, failed: 0, slowestMs: 0, bytes: 0, errors: null };

  constructor(cluster: string, line: CommandLine) {
    this.cluster = cluster;
    this.#child = start(line);
    this.#ended = once(this.#child, 'close');
    const lines = createInterface(this.#child.stdout);
    lines.on('line', (text) => (this.#counts = JSON.parse(text) as LoadCounts));
  }

  /** The counts of the last second. */
  get counts(): LoadCounts {
    return this.#counts;
  }

  async stop(): Promise<LoadCounts> {
    this.#child.stdin.end();
    await this.#ended;
    return this.#counts;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function start({ command, args, env }: CommandLine) {
  return spawn(command, args, { env, stdio: ['pipe', 'pipe', 'inherit'] });
}
