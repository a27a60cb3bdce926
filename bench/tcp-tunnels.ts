import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GoPrograms } from '../testkit/ground/go-programs.ts';
import { isMissingProgram, type PeerPrograms } from '../testkit/ground/peer-programs.ts';
import { freePort, runProgram, startProgram, type Program } from '../testkit/processes/process.ts';
import { makeTestCertificates, type TestCertificates } from '../testkit/world/certificates.ts';
import { startCulvertPair } from './culvert-pair.ts';
import { startNodeRelay } from './node-relay.ts';
import type { Peer } from './peers.ts';

/** A tunnel from a local TCP port to the target. */
interface Tunnel {
  readonly name: string;
  readonly port: number;
  readonly server: readonly Program[];
  readonly agent: readonly Program[];
}

interface Setting {
  readonly stack: AsyncDisposableStack;
  readonly directory: string;
  readonly certificates: TestCertificates;
  readonly targetPort: number;
}

/** Tunnels for plain TCP, all in front of one target. Those that are missing are reported. */
export async function startTcpTunnels(
  go: GoPrograms,
  programs: PeerPrograms,
): Promise<AsyncDisposable & { readonly peers: readonly Peer[] }> {
  await using stack = new AsyncDisposableStack();
  const certificates = stack.use(await makeTestCertificates());
  const directory = await mkdtemp(join(tmpdir(), 'culvert-bench-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const target = stack.use(startProgram({ command: go.load, args: ['target'], name: 'target' }));
  const targetPort = Number((await target.waitForLine(/"port":(\d+)/))[1]);
  const setting: Setting = { stack, directory, certificates, targetPort };

  const tunnels: Tunnel[] = [await startCulvertConnect(setting)];
  if (!isMissingProgram(programs.rathole)) {
    tunnels.push(await startRathole(setting, programs.rathole));
  }
  if (!isMissingProgram(programs.frp)) {
    tunnels.push(await startFrp(setting, programs.frp, 'tcp'));
    tunnels.push(await startFrp(setting, programs.frp, 'websocket'));
  }
  if (!isMissingProgram(programs.chisel)) tunnels.push(await startChisel(setting, programs.chisel));
  for (const found of Object.values(programs)) {
    if (isMissingProgram(found)) console.error(`left out: ${found.missing} (${found.reason})`);
  }
  const relay = stack.use(await startNodeRelay(targetPort));
  const relayPort = Number(relay.address.split(':')[1]);
  tunnels.push({ name: 'one Node relay', port: relayPort, server: [relay.program], agent: [] });

  const counter = ['--counter', `127.0.0.1:${targetPort}`];
  const running = stack.move();
  return {
    peers: tunnels.map(({ name, port, server, agent }) => ({
      name,
      loadFlags: ['--direct', '--to', `127.0.0.1:${port}`, ...counter],
      serverPids: server.map(({ pid }) => pid),
      agentPids: agent.map(({ pid }) => pid),
    })),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Broker, agent and the program with the local listener: two TLS legs. */
async function startCulvertConnect(setting: Setting): Promise<Tunnel> {
  const { stack, certificates, targetPort } = setting;
  const directory = join(setting.directory, 'culvert');
  const pair = await startCulvertPair(stack, { front: 'uds', certificates, directory });
  const { program, port } = await pair.startConnect(`cluster1:${targetPort}`);
  const name = 'culvert connect (wss, wss)';
  return { name, port, server: [pair.broker, program], agent: [pair.agent] };
}

async function startRathole(setting: Setting, command: string): Promise<Tunnel> {
  const { stack, directory, certificates, targetPort } = setting;
  const { cert, key, ca } = certificates.server;
  const identity = join(directory, 'rathole.pfx');
  await runProgram({
    command: 'openssl',
    args: [
      ...['pkcs12', '-export', '-in', cert, '-inkey', key, '-out', identity],
      ...['-passout', 'pass:bench'],
    ],
  });
  const [linkPort, port] = [await freePort(), await freePort()];
  const server = join(directory, 'rathole-server.toml');
  await writeFile(
    server,
    `[server]
bind_addr = "127.0.0.1:${linkPort}"
default_token = "bench"
[server.transport]
type = "tls"
[server.transport.tls]
pkcs12 = "${identity}"
pkcs12_password = "bench"
[server.services.target]
bind_addr = "127.0.0.1:${port}"
`,
  );
  const client = join(directory, 'rathole-client.toml');
  await writeFile(
    client,
    `[client]
remote_addr = "127.0.0.1:${linkPort}"
default_token = "bench"
[client.transport]
type = "tls"
[client.transport.tls]
trusted_root = "${ca}"
hostname = "localhost"
[client.services.target]
local_addr = "127.0.0.1:${targetPort}"
`,
  );
  const env = { RUST_LOG: 'warn' };
  const near = stack.use(
    startProgram({ command, args: ['--server', server], name: 'rathole server', env }),
  );
  await near.waitForPort(linkPort);
  const far = stack.use(
    startProgram({ command, args: ['--client', client], name: 'rathole client', env }),
  );
  await near.waitForPort(port);
  return { name: 'rathole, TLS', port, server: [near], agent: [far] };
}

async function startFrp(
  { stack, directory, certificates, targetPort }: Setting,
  programs: { readonly server: string; readonly client: string },
  protocol: 'tcp' | 'websocket',
): Promise<Tunnel> {
  const { cert, key, ca } = certificates.server;
  const [linkPort, port] = [await freePort(), await freePort()];
  const server = join(directory, `frps-${protocol}.toml`);
  await writeFile(
    server,
    `bindAddr = "127.0.0.1"
bindPort = ${linkPort}
proxyBindAddr = "127.0.0.1"
log.level = "warn"
transport.tls.force = true
transport.tls.certFile = "${cert}"
transport.tls.keyFile = "${key}"
`,
  );
  const client = join(directory, `frpc-${protocol}.toml`);
  await writeFile(
    client,
    `serverAddr = "127.0.0.1"
serverPort = ${linkPort}
log.level = "warn"
transport.protocol = "${protocol}"
transport.tls.enable = true
transport.tls.trustedCaFile = "${ca}"
[[proxies]]
name = "target"
type = "tcp"
localIP = "127.0.0.1"
localPort = ${targetPort}
remotePort = ${port}
`,
  );
  const near = stack.use(
    startProgram({ command: programs.server, args: ['-c', server], name: 'frps' }),
  );
  await near.waitForPort(linkPort);
  const far = stack.use(
    startProgram({ command: programs.client, args: ['-c', client], name: 'frpc' }),
  );
  await near.waitForPort(port);
  const name = protocol === 'tcp' ? 'frp, TCP + TLS' : 'frp, WebSocket + TLS';
  return { name, port, server: [near], agent: [far] };
}

async function startChisel({ stack, targetPort }: Setting, command: string): Promise<Tunnel> {
  const [linkPort, port] = [await freePort(), await freePort()];
  const near = stack.use(
    startProgram({
      command,
      args: ['server', '--host', '127.0.0.1', '--port', `${linkPort}`, '--reverse'],
      name: 'chisel server',
    }),
  );
  await near.waitForPort(linkPort);
  const remote = `R:127.0.0.1:${port}:127.0.0.1:${targetPort}`;
  const far = stack.use(
    startProgram({
      command,
      args: ['client', `http://127.0.0.1:${linkPort}`, remote],
      name: 'chisel client',
    }),
  );
  await near.waitForPort(port);
  return { name: 'chisel (SSH in WebSocket)', port, server: [near], agent: [far] };
}
