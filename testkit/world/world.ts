import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TokenSubject } from '../../src/base/tokens/token-subject.ts';
import { generateTokenKeyPair, issueToken } from '../../src/base/tokens/enrolment-token.ts';
import type { FrontAccess } from '../ground/konnectivity-client.ts';
import { makeTestCertificates, type TestCertificates } from './certificates.ts';
import { withResolverConfig } from '../network/own-resolver-config.ts';
import { startProgram, type Program, type ProgramOptions } from '../processes/process.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const cli = join(root, 'src/cli/main.ts');
const dayMs = 24 * 3_600_000;

/** The Node that the project pins, whichever one runs the tests. */
export const node = join(root, 'node_modules/.bin/node');

type Env = Readonly<Record<string, string | undefined>>;

const proxyVariables = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'];
const noProxies: Env = Object.fromEntries(
  proxyVariables.flatMap((name) => [
    [name, undefined],
    [name.toLowerCase(), undefined],
  ]),
);

/** How to run `culvert COMMAND`, without the configuration in the test's own environment. */
export function culvert(command: string, args: readonly string[], env: Env = {}): ProgramOptions {
  return {
    command: node,
    args: [cli, command, ...args],
    name: `culvert ${command}`,
    env: { CULVERT_LOG_LEVEL: 'debug', ...noProxies, ...env },
  };
}

/** Starts `culvert COMMAND` as a real process. */
export function startCulvert(command: string, args: readonly string[], env: Env = {}): Program {
  return startProgram(culvert(command, args, env));
}

/** The first log line of this event, once it is written. */
export async function loggedLine(
  program: Program,
  event: string,
): Promise<Readonly<Record<string, unknown>>> {
  const [line] = await program.waitForLine(new RegExp(`^\\{.*"event":"${event}".*\\}$`));
  return JSON.parse(line) as Record<string, unknown>;
}

/** The value of `field` in the first log line of this event, as text. */
export async function logged(program: Program, event: string, field: string): Promise<string> {
  return String((await loggedLine(program, event))[field]);
}

/** How often the event has been logged so far. */
export function timesLogged(program: Program, event: string): number {
  return program.output.split(`"event":"${event}"`).length - 1;
}

/** How a program reaches the broker, if not directly. */
export interface Route {
  readonly url: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface WorldOptions {
  /** True: no TLS, and konnectivity clients need no certificate. Tokens are still required. */
  readonly plain?: boolean;
  /** The address of the programs and the kube-apiserver (default: 127.0.0.1). IPv6 in brackets. */
  readonly host?: string;
  /** True: only the broker has no TLS, as behind an ingress. */
  readonly plainBroker?: boolean;
  /** True: the bridge is a process of its own that dials the broker. */
  readonly bridgeApart?: boolean;
  /** How the agent, and the bridge if it is a separate process, reach the broker. */
  readonly route?: (world: {
    readonly brokerUrl: string;
    readonly certificates: TestCertificates;
  }) => Promise<Route>;
  readonly agentArgs?: readonly string[];
  /** The agent's /etc/resolv.conf; needs `ownResolverConfigs`. */
  readonly agentResolverConfig?: string;
  /** For each of the programs, e.g. --drain-timeout. */
  readonly commonArgs?: readonly string[];
}

/** A token key, and files with tokens signed by it. */
export class TestTokens {
  readonly publicKeyFile: string;
  readonly #directory: string;
  readonly #issue: (subject: TokenSubject, ttlMs: number) => Promise<string>;
  #count = 0;

  private constructor(
    directory: string,
    issue: (subject: TokenSubject, ttlMs: number) => Promise<string>,
  ) {
    this.#directory = directory;
    this.#issue = issue;
    this.publicKeyFile = join(directory, 'token.pub');
  }

  static async create(directory: string): Promise<TestTokens> {
    const { privateKeyPem, publicKeyPem } = await generateTokenKeyPair();
    const tokens = new TestTokens(directory, async (subject, ttlMs) =>
      (await issueToken(privateKeyPem, subject, ttlMs)).reveal(),
    );
    await writeFile(tokens.publicKeyFile, publicKeyPem);
    return tokens;
  }

  /** A token; one with a negative time to live has expired. */
  issue(subject: TokenSubject, ttlMs = dayMs): Promise<string> {
    return this.#issue(subject, ttlMs);
  }

  /** A file that holds `token`. */
  async file(token: string): Promise<string> {
    const path = join(this.#directory, `${++this.#count}.token`);
    await writeFile(path, token);
    return path;
  }
}

/**
 * Broker, bridge and one agent of `cluster1` as real processes, with TLS and credentials everywhere
 * unless told otherwise.
 */
export class World implements AsyncDisposable {
  readonly directory: string;
  readonly certificates: TestCertificates;
  readonly tokens: TestTokens;
  readonly #options: WorldOptions;
  readonly #programs: Program[] = [];
  #brokerArgs: readonly string[] = [];
  #broker: Program | undefined;
  #bridge: Program | undefined;
  #agent: Program | undefined;
  #route: Route = { url: '' };
  #brokerUrl = '';
  #frontAddress = '';

  constructor(
    options: WorldOptions,
    parts: Pick<World, 'directory' | 'certificates'> & { readonly tokens: TestTokens },
  ) {
    this.#options = options;
    this.directory = parts.directory;
    this.certificates = parts.certificates;
    this.tokens = parts.tokens;
  }

  get broker(): Program {
    return this.#broker!;
  }

  /** The broker, unless the bridge is apart. */
  get bridge(): Program {
    return this.#bridge!;
  }

  /** The agent that was started last by `restartAgent`. */
  get agent(): Program {
    return this.#agent!;
  }

  get brokerUrl(): string {
    return this.#brokerUrl;
  }

  /** How konnectivity clients reach the bridge. */
  get front(): FrontAccess {
    const { server, client } = this.certificates;
    const address = this.#frontAddress;
    return this.#options.plain === true
      ? { address }
      : { address, tls: { serverCa: server.ca, client } };
  }

  /** How konnectivity clients reach the bridge over its Unix socket. */
  get unixFront(): FrontAccess {
    return { address: `unix:${this.#socketPath}` };
  }

  async start(): Promise<void> {
    const { bridgeApart, route, plain, plainBroker } = this.#options;
    const { server } = this.certificates;
    this.#brokerArgs = [
      '--token-public-key',
      this.tokens.publicKeyFile,
      ...this.#commonArgs,
      ...(plain || plainBroker ? [] : ['--tls-cert', server.cert, '--tls-key', server.key]),
    ];
    await this.#startBroker(`${this.#host}:0`, `${this.#host}:0`);
    const direct = {
      url: this.brokerUrl,
      args: this.brokerUrl.startsWith('wss:') ? ['--ca-file', server.ca] : [],
    };
    this.#route = (await route?.(this)) ?? direct;
    if (bridgeApart === true) await this.#startBridge();
    await this.restartAgent();
  }

  /** Starts an agent like the first one, which has ended, and waits until the broker has it. */
  async restartAgent(): Promise<void> {
    const token = await this.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    this.#agent = this.startAgent(await this.tokens.file(token));
    await loggedLine(this.#agent, 'connected to the broker');
  }

  /** Starts another agent of `cluster1` with this token. The last flags override earlier ones. */
  startAgent(tokenFile: string, route: Partial<Route> = {}): Program {
    const { url, args = [], env } = { ...this.#route, ...route };
    const own = this.#options.agentArgs ?? ['--allow', '*.svc:*'];
    const link = ['--broker-url', url, '--cluster', 'cluster1', '--token-file', tokenFile, ...args];
    // There is one broker: a second tunnel would only knock at its door now and then.
    const server = own.includes('--kube-apiserver') ? [] : ['--kube-apiserver', this.#host];
    const flags = [...link, '--tunnels', '1', ...server, ...own, ...this.#commonArgs];
    const program = culvert('agent', flags, env);
    const { agentResolverConfig: file } = this.#options;
    return this.#add(
      startProgram(file === undefined ? program : withResolverConfig(program, file)),
    );
  }

  /** Starts a broker in the place of one that has ended: same ports, same keys. */
  async restartBroker(): Promise<void> {
    await this.#startBroker(new URL(this.brokerUrl).host, this.#frontAddress);
  }

  /** Starts another bridge apart, that shows this token to the broker. */
  async startBridge(
    tokenFile: string,
    more: readonly string[] = [],
  ): Promise<{ program: Program; front: FrontAccess }> {
    const { url, args = [], env } = this.#route;
    const flags = ['--broker-url', url, '--token-file', tokenFile, ...args, ...more];
    const program = this.#add(
      startCulvert(
        'bridge',
        [...flags, ...this.#frontArgs(`${this.#host}:0`), ...this.#commonArgs],
        env,
      ),
    );
    const address = await frontAddress(program);
    return { program, front: { ...this.front, address } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A test has already checked an orderly end, if it needs to.
    for (const program of this.#programs) program.kill('SIGKILL');
    await Promise.all(this.#programs.map((program) => program.stop()));
    await this.certificates[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }

  get #commonArgs(): readonly string[] {
    return this.#options.commonArgs ?? [];
  }

  get #host(): string {
    return this.#options.host ?? '127.0.0.1';
  }

  get #socketPath(): string {
    return join(this.directory, 'konnectivity.sock');
  }

  async #startBroker(listen: string, front: string): Promise<void> {
    const apart = this.#options.bridgeApart === true;
    const unix = ['--konnectivity-uds', this.#socketPath];
    const args = ['--listen', listen, ...(apart ? [] : [...this.#frontArgs(front), ...unix])];
    this.#broker = this.#add(startCulvert('broker', [...args, ...this.#brokerArgs]));
    this.#brokerUrl = await logged(this.#broker, 'broker listens', 'url');
    if (apart) return;
    this.#bridge = this.#broker;
    this.#frontAddress = await frontAddress(this.#bridge);
  }

  async #startBridge(): Promise<void> {
    const token = await this.tokens.issue({ kind: 'dialer', name: 'bridge' });
    const { program, front } = await this.startBridge(await this.tokens.file(token));
    this.#bridge = program;
    this.#frontAddress = front.address;
  }

  #frontArgs(listen: string): string[] {
    const { server, client } = this.certificates;
    const flags = ['--konnectivity-listen', listen];
    if (this.#options.plain === true) return flags;
    const tls = ['--konnectivity-tls-cert', server.cert, '--konnectivity-tls-key', server.key];
    return [...flags, ...tls, '--konnectivity-client-ca', client.ca];
  }

  #add(program: Program): Program {
    this.#programs.push(program);
    return program;
  }
}

async function frontAddress(bridge: Program): Promise<string> {
  const { addresses } = await loggedLine(bridge, 'konnectivity bridge listens');
  return (addresses as string[])[0]!;
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-world-'));
  const certificates = await makeTestCertificates();
  const tokens = await TestTokens.create(directory);
  const world = new World(options, { directory, certificates, tokens });
  try {
    await world.start();
  } catch (thrown) {
    await world[Symbol.asyncDispose]();
    throw thrown;
  }
  return world;
}
