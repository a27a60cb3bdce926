import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateTokenKeyPair, issueToken } from '../../src/base/enrolment-token.ts';
import type { FrontAccess } from '../ground/konnectivity-client.ts';
import { makeTestCertificates, type TestCertificates } from './certificates.ts';
import { startProgram, type Program } from './process.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const node = join(root, 'node_modules/.bin/node');
const cli = join(root, 'src/cli/main.ts');
const dayMs = 24 * 3_600_000;

/** Starts `culvert COMMAND` as a real process, with nothing of the test's own environment that configures it. */
export function startCulvert(
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): Program {
  return startProgram({
    command: node,
    args: [cli, command, '--log-level', 'debug', ...args],
    name: `culvert ${command}`,
    env: { HTTP_PROXY: undefined, HTTPS_PROXY: undefined, NO_PROXY: undefined, ...env },
  });
}

/** The value of `field` in the first log line with this event. */
export async function logged(program: Program, event: string, field: string): Promise<string> {
  const [, value] = await program.waitForLine(
    new RegExp(`"event":"${event}".*|"${field}":"([^"]*)".*"event":"${event}"`),
  );
  if (value !== undefined) return value;
  const line = await program.waitForLine(new RegExp(`.*"event":"${event}".*`));
  return String((JSON.parse(line[0]) as Record<string, unknown>)[field]);
}

export interface WorldOptions {
  /** How agents reach the broker, where not directly: gets the broker's port, returns the URL and what else they need. */
  readonly agentRoute?: (brokerPort: number) => Promise<{
    readonly url: string;
    readonly args?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  }>;
  readonly agentArgs?: readonly string[];
  /** True: the bridge is a process of its own that dials the broker. */
  readonly bridgeApart?: boolean;
}

/** Broker, bridge and one agent of `cluster1` as real processes, with TLS and credentials everywhere. */
export class World implements AsyncDisposable {
  readonly directory: string;
  readonly certificates: TestCertificates;
  readonly broker: Program;
  readonly bridge: Program;
  readonly agent: Program;
  /** How konnectivity clients reach the bridge. */
  readonly front: FrontAccess;
  readonly brokerUrl: string;

  constructor(parts: Omit<World, typeof Symbol.asyncDispose>) {
    this.directory = parts.directory;
    this.certificates = parts.certificates;
    this.broker = parts.broker;
    this.bridge = parts.bridge;
    this.agent = parts.agent;
    this.front = parts.front;
    this.brokerUrl = parts.brokerUrl;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.agent.stop(), this.bridge.stop(), this.broker.stop()]);
    await this.certificates[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Files for one world: token keys and tokens. */
async function writeTokens(
  directory: string,
): Promise<{ key: string; agent: string; dialer: string }> {
  const { privateKeyPem, publicKeyPem } = await generateTokenKeyPair();
  const files = {
    key: join(directory, 'token.pub'),
    agent: join(directory, 'agent.token'),
    dialer: join(directory, 'dialer.token'),
  };
  const agent = await issueToken(privateKeyPem, { kind: 'agent', cluster: 'cluster1' }, dayMs);
  const dialer = await issueToken(privateKeyPem, { kind: 'dialer', name: 'bridge' }, dayMs);
  await writeFile(files.key, publicKeyPem);
  await writeFile(files.agent, agent.reveal());
  await writeFile(files.dialer, dialer.reveal());
  return files;
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-world-'));
  const certificates = await makeTestCertificates();
  const tokens = await writeTokens(directory);
  const { server, client } = certificates;
  const frontFlags = [
    ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-tls-cert', server.cert],
    ...['--konnectivity-tls-key', server.key, '--konnectivity-client-ca', client.ca],
  ];
  const plainBroker = options.agentRoute !== undefined;
  const broker = startCulvert('broker', [
    ...['--listen', '127.0.0.1:0', '--token-public-key', tokens.key],
    ...(plainBroker ? [] : ['--tls-cert', server.cert, '--tls-key', server.key]),
    ...(options.bridgeApart === true ? [] : frontFlags),
  ]);
  const brokerUrl = await logged(broker, 'broker listens', 'url');
  const bridge =
    options.bridgeApart === true
      ? startCulvert('bridge', [
          ...['--broker-url', brokerUrl, '--token-file', tokens.dialer, '--ca-file', server.ca],
          ...frontFlags,
        ])
      : broker;
  const address = await logged(bridge, 'konnectivity front listens', 'address');
  const route = await options.agentRoute?.(Number(new URL(brokerUrl).port));
  const agent = startCulvert(
    'agent',
    [
      ...['--broker-url', route?.url ?? brokerUrl, '--cluster', 'cluster1'],
      ...['--token-file', tokens.agent, '--kube-apiserver', '127.0.0.1'],
      ...(route === undefined ? ['--ca-file', server.ca] : (route.args ?? [])),
      ...(options.agentArgs ?? ['--allow', '*.svc:*']),
    ],
    route?.env,
  );
  await agent.waitForLine(/"event":"connected to the broker"/);
  const front = { address, tls: { serverCa: server.ca, client } };
  return new World({ directory, certificates, broker, bridge, agent, front, brokerUrl });
}
