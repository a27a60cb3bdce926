import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { frontFlags, type FrontAccess } from '../testkit/ground/konnectivity-client.ts';
import type { AgentPlace } from '../testkit/ground/upstream.ts';
import { startProgram, type Program } from '../testkit/processes/process.ts';
import { AgentAuthority } from '../testkit/world/agent-authority.ts';
import type { TestCertificates } from '../testkit/world/certificates.ts';
import { culvert, logged, loggedLine, TestTokens } from '../testkit/world/world.ts';

/** How konnectivity clients reach the server side: TCP with mTLS, or a Unix socket without TLS. */
export type FrontKind = 'mtls' | 'uds';

export interface CulvertOptions {
  readonly front: FrontKind;
  readonly certificates: TestCertificates;
  /** An empty directory. */
  readonly directory: string;
  /** The root of the checkout that is measured (default: this one). */
  readonly checkout?: string;
  /** The port on loopback at which the agent connects, given the broker's (default: the same). */
  readonly agentRoute?: (brokerPort: number) => Promise<number>;
  /** The address of the target (default: loopback). */
  readonly targetHost?: string;
  /** Where the agent runs (default: beside the broker). */
  readonly agentPlace?: AgentPlace;
  /** The directory for CPU profiles of all processes. They are written when the processes end. */
  readonly cpuProfiles?: string;
}

/** A broker and an agent of `cluster1`, with mTLS between them. */
export interface CulvertPair {
  readonly broker: Program;
  readonly agent: Program;
  /** The flags of the load generator for the front in the broker. */
  readonly frontFlags: readonly string[];
  /** Starts a bridge in a process of its own. */
  startBridge(): Promise<{ readonly program: Program; readonly frontFlags: readonly string[] }>;
  /** Starts `culvert connect`, a local listener whose connections go to `target`. */
  startConnect(target: string): Promise<{ readonly program: Program; readonly port: number }>;
}

/** Starts both. They end when `stack` is disposed. */
export async function startCulvertPair(
  stack: AsyncDisposableStack,
  options: CulvertOptions,
): Promise<CulvertPair> {
  const { certificates, directory } = options;
  await mkdir(directory, { recursive: true });
  const { server } = certificates;
  const host = options.agentPlace?.serverHost ?? '127.0.0.1';
  const tokens = await TestTokens.create(directory);
  const agents = await AgentAuthority.create();
  const agentCa = join(directory, 'agent-ca.crt');
  await writeFile(agentCa, agents.pem);
  const start = (command: string, ...args: string[]): Program =>
    stack.use(startProgram(inCheckout(command, args, options)));

  const broker = start(
    'broker',
    ...['--listen', `${host}:0`, '--tls-cert', server.cert, '--tls-key', server.key],
    ...['--agent-ca', agentCa, '--token-public-key', tokens.publicKeyFile],
    ...frontOptions(options, 'broker'),
  );
  const url = new URL(await logged(broker, 'broker listens', 'url'));
  const access = await frontAccess(broker, options);
  if (options.agentRoute !== undefined) url.port = `${await options.agentRoute(Number(url.port))}`;
  const agent = start(
    'agent',
    ...['--broker-url', url.href, '--ca-file', server.ca, '--cluster', 'cluster1'],
    ...['--certificate-dir', await agents.directory(join(directory, 'agent'), clusterOne)],
    ...['--tunnels', '1', '--kube-apiserver', options.targetHost ?? '127.0.0.1'],
  );
  await loggedLine(agent, 'connected to the broker');
  const dialerFlags = async (): Promise<string[]> => {
    const token = await tokens.file(await tokens.issue({ kind: 'dialer', name: 'bench' }));
    return ['--broker-url', url.href, '--ca-file', server.ca, '--token-file', token];
  };
  return {
    broker,
    agent,
    frontFlags: frontFlags(access),
    async startBridge() {
      const program = start('bridge', ...(await dialerFlags()), ...frontOptions(options, 'bridge'));
      return { program, frontFlags: frontFlags(await frontAccess(program, options)) };
    },
    async startConnect(target) {
      const flags = [...(await dialerFlags()), '--listen', '127.0.0.1:0', 'cluster1', target];
      const program = start('connect', ...flags);
      const address = await logged(program, 'connect listens', 'address');
      return { program, port: Number(address.split(':').at(-1)) };
    },
  };
}

const clusterOne = { cluster: 'cluster1' };

function frontOptions({ front, certificates, directory }: CulvertOptions, name: string): string[] {
  if (front === 'uds') return ['--konnectivity-uds', join(directory, `${name}.sock`)];
  const { server, client } = certificates;
  return [
    ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-client-ca', client.ca],
    ...['--konnectivity-tls-cert', server.cert, '--konnectivity-tls-key', server.key],
  ];
}

async function frontAccess(
  program: Program,
  { front, certificates }: CulvertOptions,
): Promise<FrontAccess> {
  const { addresses } = await loggedLine(program, 'konnectivity bridge listens');
  const address = (addresses as string[])[0]!;
  if (front === 'uds') return { address: `unix:${address}` };
  return { address, tls: { serverCa: certificates.server.ca, client: certificates.client } };
}

function inCheckout(
  command: string,
  args: readonly string[],
  { checkout, cpuProfiles, agentPlace }: CulvertOptions,
): ReturnType<typeof culvert> {
  const program = culvert(command, args, { CULVERT_LOG_LEVEL: 'info' });
  const [cli = '', ...rest] = program.args ?? [];
  const entry = checkout === undefined ? cli : join(checkout, 'src/cli/main.ts');
  const name = `${command}.cpuprofile`;
  const profile =
    cpuProfiles === undefined
      ? []
      : ['--cpu-prof', '--cpu-prof-dir', cpuProfiles, '--cpu-prof-name', name];
  const prefix = command === 'agent' ? (agentPlace?.prefix ?? []) : [];
  const [first = '', ...others] = [...prefix, program.command, ...profile, entry, ...rest];
  return { ...program, command: first, args: others, killAfterMs: 15_000 };
}
