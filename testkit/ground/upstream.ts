import type { TestCertificates, CertificateFiles } from '../world/certificates.ts';
import { freePort, startProgram, type Program } from '../processes/process.ts';
import type { UpstreamPrograms } from './go-programs.ts';

// Less than the time limit of a hook, so that the failure has the server's output.
const readyTimeoutMs = 15_000;

/** Upstream's proxy-server with one proxy-agent connected to it, over mTLS on loopback. */
export interface Upstream extends AsyncDisposable {
  /** Where konnectivity clients with a certificate of the client CA connect: `HOST:PORT`. */
  readonly front: string;
  readonly server: Program;
  readonly agent: Program;
}

/** A network namespace of the agent. */
export interface AgentPlace {
  /** The command that runs another command there. */
  readonly prefix: readonly string[];
  /** The address at which the agent reaches the server, which listens at all addresses. */
  readonly serverHost: string;
}

export interface UpstreamOptions {
  /** Clients connect to this Unix socket, without TLS, instead of to a port. */
  readonly udsPath?: string;
  /** The address at which clients connect (default: 127.0.0.1). */
  readonly frontHost?: string;
  /** The verbosity of both. Their default is 4, which logs two lines for each packet. */
  readonly verbosity?: number;
  /** The port on loopback at which the agent connects, given the server's (default: the same). */
  readonly agentRoute?: (serverPort: number) => Promise<number>;
  /** Where the agent runs (default: beside the server). */
  readonly agentPlace?: AgentPlace;
}

/** Starts both and resolves when the server has the agent. */
export async function startUpstream(
  programs: UpstreamPrograms,
  certificates: TestCertificates,
  options: UpstreamOptions = {},
): Promise<Upstream> {
  const ports = await serverPorts();
  await using started = new AsyncDisposableStack();
  const server = started.use(startServer(programs, certificates, ports, options));
  await server.waitForPort(ports.agent);
  const agentPort = (await options.agentRoute?.(ports.agent)) ?? ports.agent;
  const agent = started.use(await startAgent(programs, certificates, agentPort, options));
  // /readyz answers 200 only once an agent is connected.
  await ready(server, `http://127.0.0.1:${ports.health}/readyz`);
  const running = started.move();
  return {
    front:
      options.udsPath === undefined
        ? `${options.frontHost ?? '127.0.0.1'}:${ports.front}`
        : `unix:${options.udsPath}`,
    server,
    agent,
    [Symbol.asyncDispose]: async () => {
      // The agent needs many seconds after a SIGTERM, and neither has data to save.
      agent.kill('SIGKILL');
      server.kill('SIGKILL');
      await running.disposeAsync();
    },
  };
}

interface ServerPorts {
  readonly front: number;
  readonly agent: number;
  readonly admin: number;
  readonly health: number;
}

async function serverPorts(): Promise<ServerPorts> {
  const [front, agent, admin, health] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  return { front, agent, admin, health };
}

function startServer(
  programs: UpstreamPrograms,
  certificates: TestCertificates,
  ports: ServerPorts,
  { udsPath, frontHost = '127.0.0.1', verbosity = 4, agentPlace }: UpstreamOptions,
): Program {
  const { server, client, agent } = certificates;
  return startProgram({
    command: programs.server,
    name: 'upstream proxy-server',
    args: [
      `--v=${verbosity}`,
      ...(udsPath === undefined
        ? [
            `--server-bind-address=${frontHost}`,
            `--server-port=${ports.front}`,
            `--server-cert=${server.cert}`,
            `--server-key=${server.key}`,
            `--server-ca-cert=${client.ca}`,
          ]
        : ['--server-port=0', `--uds-name=${udsPath}`]),
      `--agent-bind-address=${agentPlace === undefined ? '127.0.0.1' : '0.0.0.0'}`,
      `--agent-port=${ports.agent}`,
      `--cluster-cert=${server.cert}`,
      `--cluster-key=${server.key}`,
      `--cluster-ca-cert=${agent.ca}`,
      '--admin-bind-address=127.0.0.1',
      `--admin-port=${ports.admin}`,
      '--health-bind-address=127.0.0.1',
      `--health-port=${ports.health}`,
    ],
  });
}

async function startAgent(
  programs: UpstreamPrograms,
  { server, agent }: TestCertificates,
  serverPort: number,
  { verbosity, agentPlace: place }: UpstreamOptions,
): Promise<Program> {
  const access = { port: serverPort, serverCa: server.ca, agent };
  return await startUpstreamAgent(programs, access, { verbosity, place });
}

/** Where a server listens for agents on 127.0.0.1, and the certificates of both. */
export interface AgentAccess {
  readonly port: number;
  readonly serverCa: string;
  /** Undefined: the agent shows no certificate. */
  readonly agent: CertificateFiles | undefined;
}

export interface UpstreamAgentOptions {
  readonly verbosity?: number | undefined;
  /** More flags. */
  readonly args?: readonly string[];
  /** The port of /healthz, /readyz and /metrics (default: a free one). */
  readonly healthPort?: number;
  /** Where it runs (default: here). */
  readonly place?: AgentPlace | undefined;
}

/** Starts upstream's proxy-agent. The caller kills it, because it needs long after a SIGTERM. */
export async function startUpstreamAgent(
  programs: UpstreamPrograms,
  { port, serverCa, agent }: AgentAccess,
  { verbosity = 4, args = [], healthPort, place }: UpstreamAgentOptions = {},
): Promise<Program> {
  const [command, ...before] = [...(place?.prefix ?? []), programs.agent];
  return startProgram({
    command,
    name: 'upstream proxy-agent',
    args: [
      ...before,
      `--v=${verbosity}`,
      `--proxy-server-host=${place?.serverHost ?? '127.0.0.1'}`,
      `--proxy-server-port=${port}`,
      `--ca-cert=${serverCa}`,
      ...(agent === undefined ? [] : [`--agent-cert=${agent.cert}`, `--agent-key=${agent.key}`]),
      '--health-server-host=127.0.0.1',
      `--health-server-port=${healthPort ?? (await freePort())}`,
      '--admin-bind-address=127.0.0.1',
      `--admin-server-port=${await freePort()}`,
      ...args,
    ],
  });
}

async function ready(program: Program, url: string): Promise<void> {
  const deadline = AbortSignal.timeout(readyTimeoutMs);
  for (;;) {
    const answer = await fetch(url, { signal: deadline }).catch(() => undefined);
    if (answer?.ok) return;
    if (deadline.aborted) {
      throw new Error(`${program.name} is not ready at ${url}; its output:\n${program.output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
