import { once } from 'node:events';
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startAgent, type RunningAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { makeCertificateToken } from '../../src/base/tokens/certificate-token.ts';
import { silentLogger, type Logger } from '../../src/base/log/logger.ts';
import { Secret } from '../../src/base/secret.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import type { RunningBroker } from '../../src/broker/node/running-broker.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { startBridge } from '../../src/konnectivity-bridge/bridge.ts';
import { ConnectError } from '../../src/tunnel/connect-error.ts';
import { connectWebSocket } from '../../src/websocket/connect.ts';
import type { WebSocketLink } from '../../src/websocket/websocket-link.ts';
import { AgentAuthority, type AgentCertificate } from '../../testkit/world/agent-authority.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { startIngress } from '../../testkit/network/ingress.ts';
import { startTarget } from '../../testkit/world/target.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';

/** Files are looked at every 5 s; a busy machine takes longer. */
const reloaded = { timeout: 30_000, interval: 100 };

let directory: string;
let certificates: TestCertificates;
let agents: AgentAuthority;
let serverCa: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-identity-'));
  certificates = await makeTestCertificates();
  agents = await AgentAuthority.create();
  serverCa = await readFile(certificates.server.ca, 'utf8');
});
afterAll(async () => {
  await certificates?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

interface World {
  readonly broker: RunningBroker;
  readonly port: number;
  readonly lines: readonly Record<string, unknown>[];
  /** Paths of files that the broker was given, to be changed. */
  readonly files: Readonly<Record<'cert' | 'key' | 'agentCa', string>>;
  metrics(): Promise<string>;
}

let worlds = 0;
/** A broker with TLS that trusts `agents`. Its files are copies. */
async function startWorld(plain = false): Promise<World> {
  const root = join(directory, `${++worlds}`);
  const files = { cert: `${root}.crt`, key: `${root}.key`, agentCa: `${root}-agents.crt` };
  await copyFile(certificates.server.cert, files.cert);
  await copyFile(certificates.server.key, files.key);
  await writeFile(files.agentCa, agents.pem);
  const tls = plain ? [] : ['--tls-cert', files.cert, '--tls-key', files.key];
  const listen = ['--listen', '127.0.0.1:0', '--status-listen', '127.0.0.1:0'];
  const { options } = readBrokerOptions([...listen, ...tls, '--agent-ca', files.agentCa], {});
  const lines: Record<string, unknown>[] = [];
  const say = (event: string, fields?: LogFields) => void lines.push({ event, ...fields });
  const log: Logger = { ...silentLogger, info: say, warn: say, error: say, child: () => log };
  const broker = await startBroker(options, { log });
  onTestFinished(() => broker.close());
  const status = String(lines.find(({ event }) => event === 'status listens')?.['address']);
  return {
    broker,
    port: Number(new URL(broker.url).port),
    lines,
    files,
    metrics: async () => (await fetch(`http://${status}/metrics`)).text(),
  };
}

async function agentOf(
  cluster: string,
  url: string,
  certificateDir: string,
): Promise<RunningAgent> {
  const flags = ['--cluster', cluster, '--broker-url', url, '--certificate-dir', certificateDir];
  const own = ['--ca-file', certificates.server.ca, '--tunnels', '1'];
  const to = ['--kube-apiserver', '127.0.0.1'];
  const { options } = readAgentOptions([...flags, ...own, ...to], {});
  const agent = await startAgent(options, { log: silentLogger });
  onTestFinished(() => agent.close());
  return agent;
}

interface Shown {
  readonly cluster?: string;
  readonly certificate?: AgentCertificate;
  readonly headers?: Record<string, string>;
}
/** Comes as an agent, with whatever is shown. */
async function knock({ port }: World, { cluster = 'c1', certificate, headers }: Shown) {
  const link = await connectWebSocket({
    url: new URL(`wss://127.0.0.1:${port}/v1/agent`),
    ca: serverCa,
    headers: { 'Culvert-Cluster': cluster, 'Culvert-Agent': 'hand-made', ...headers },
    ...(certificate && {
      clientCertificate: { cert: certificate.certPem, key: new Secret(certificate.keyPem) },
    }),
  });
  onTestFinished(() => link.close());
  return link;
}

async function refusalOf(connecting: Promise<WebSocketLink>): Promise<string> {
  try {
    await connecting;
    return 'let in';
  } catch (thrown) {
    if (thrown instanceof ConnectError) return `${thrown.status}: ${thrown.message}`;
    throw thrown;
  }
}

async function tokenHeader({ key, certificate }: AgentCertificate, cluster = 'c1') {
  const token = await makeCertificateToken(key, certificate.der, cluster);
  return { 'Culvert-Authorization': `Bearer ${token.reveal()}` };
}

describe('An agent with the certificate of its registration', () => {
  it('An agent with a registration certificate serves streams over mutual TLS', async () => {
    const world = await startWorld();
    const agent = await agentOf(
      '1st',
      world.broker.url,
      await agents.directory(join(directory, '1st'), { cluster: '1st' }),
    );
    await agent.connected;
    await using target = await startTarget({ mode: 'echo' });
    const bridge = await startBridge(
      { listen: { host: '127.0.0.1', port: 0 } },
      { dialer: world.broker.dialer, log: silentLogger },
    );
    onTestFinished(() => bridge.close());
    await using client = await openClient({ address: bridge.addresses[0]! });
    expect(await isServed(client, `1st:${target.port}`)).toBe(true);
  });

  it('An agent with a registration certificate is admitted behind an ingress by a token that is signed with its key', async () => {
    const world = await startWorld(true);
    await using ingress = await startIngress({
      tls: certificates.server,
      host: 'broker.example',
      upstreamPort: world.port,
    });
    const { options } = readAgentOptions(
      [
        ...['--cluster', 'c1', '--broker-url', `wss://localhost:${ingress.port}`],
        ...['--host-header', 'broker.example', '--ca-file', certificates.server.ca],
        ...['--certificate-dir', await agents.directory(join(directory, 'behind'))],
      ],
      {},
    );
    await using agent = await startAgent(options, { log: silentLogger });
    await agent.connected;
    expect(agent.tunnelCount).toBe(1);
  });

  it('An agent reads its certificate again when it connects', async () => {
    const world = await startWorld();
    const path = await agents.directory(join(directory, 'late'), { cluster: 'c2' });
    const agent = await agentOf('c3', world.broker.url, path);
    await expect
      .poll(() => world.lines, reloaded)
      .toContainEqual(expect.objectContaining({ status: 403 }));
    expect(agent.tunnelCount).toBe(0);
  });
});

describe('A client that connects as an agent', () => {
  const cases: readonly (readonly [string, string, () => Promise<Shown>])[] = [
    [
      "with the certificate of cluster 1 and cluster 2's name",
      '403: .*speaks for cluster c1 only, not for c2',
      async () => ({ cluster: 'c2', certificate: await agents.issue() }),
    ],
    [
      "with a token of cluster 1 and cluster 2's name",
      '403: .*speaks for cluster c1 only, not for c2',
      async () => ({ cluster: 'c2', headers: await tokenHeader(await agents.issue()) }),
    ],
    [
      'with a token that names another cluster than its certificate',
      '401: .*\\(bad_claims\\)',
      async () => ({ cluster: 'c2', headers: await tokenHeader(await agents.issue(), 'c2') }),
    ],
    [
      'with an expired certificate',
      '401: .*\\(expired\\)',
      async () => ({
        certificate: await agents.issue({ notAfter: new Date(Date.now() - 60_000) }),
      }),
    ],
    [
      'with a certificate of another CA',
      '401: .*\\(unknown_ca\\)',
      async () => ({ certificate: await (await AgentAuthority.create()).issue() }),
    ],
    [
      'with a certificate without a cluster',
      '401: .*\\(no_cluster\\)',
      async () => ({ certificate: await agents.issue({ subject: { commonName: 'client' } }) }),
    ],
    [
      'with the certificate of a konnectivity client',
      '401: .*\\(unknown_ca\\)',
      async () => {
        const { cert, key } = certificates.client;
        const [certPem, keyPem] = [await readFile(cert, 'utf8'), await readFile(key, 'utf8')];
        return { certificate: { ...(await agents.issue()), certPem, keyPem } };
      },
    ],
    ['with nothing', '401: .*a credential is needed', async () => ({})],
    [
      'with a proxied user header',
      '401: .*a credential is needed',
      async () => ({ headers: { 'X-Remote-User': 'c1' } }),
    ],
  ];

  it.each(cases)(
    'A client that connects as an agent %s is refused, logged and counted',
    async (_, expected, make) => {
      const world = await startWorld();
      const shown = await make();
      const refusal = await refusalOf(knock(world, shown));
      expect(refusal).toMatch(new RegExp(`^${expected}`));
      const status = Number(refusal.slice(0, 3));
      const line = world.lines.find(({ event }) => event === 'connection refused');
      expect(line).toMatchObject({ status, path: '/v1/agent' });
      // The agent hears the beginning of it.
      expect(refusal).toContain(String(line?.['error']).slice(0, 100));
      const token =
        shown.headers?.['Culvert-Authorization']?.split('.').at(-1) ?? 'no token at all';
      expect(JSON.stringify(world.lines)).not.toContain(token);
      expect(await world.metrics()).toContain(
        `culvert_broker_rejected_connections_total{status="${status}"} 1`,
      );
    },
  );

  it("A client with an agent's certificate cannot open a dialer's session", async () => {
    const { port } = await startWorld();
    const { certPem, keyPem } = await agents.issue();
    const connecting = connectWebSocket({
      url: new URL(`wss://127.0.0.1:${port}/v1/clusters/c1/session`),
      ca: serverCa,
      clientCertificate: { cert: certPem, key: new Secret(keyPem) },
    });
    expect(await refusalOf(connecting)).toMatch(/^403: .*opens no session/);
  });
});

/** A TLS connection that stays open, and the serial number that it has seen. */
async function hold(port: number): Promise<{ socket: TLSSocket; serial: string }> {
  const socket = connectTls({ host: '127.0.0.1', port, ca: serverCa, servername: 'localhost' });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return { socket, serial: socket.getPeerCertificate().serialNumber };
}

describe('A broker whose files change', () => {
  it('A broker uses a changed certificate for new connections and keeps established ones', async () => {
    const world = await startWorld();
    const before = await hold(world.port);
    const agent = await agentOf(
      'c1',
      world.broker.url,
      await agents.directory(join(directory, 'stays')),
    );
    await agent.connected;
    const { cert, key } = await certificates.serverAuthority.issue({
      name: 'new',
      usage: 'server',
    });
    await copyFile(cert, world.files.cert);
    await copyFile(key, world.files.key);
    await expect
      .poll(async () => (await hold(world.port)).serial, reloaded)
      .not.toBe(before.serial);
    expect(before.socket.getPeerCertificate().serialNumber).toBe(before.serial);
    expect([before.socket.destroyed, agent.tunnelCount]).toEqual([false, 1]);
    expect(world.lines.filter(({ event }) => event === 'tunnel retires')).toEqual([]);
  });

  it('A broker keeps its certificate when the changed one does not match its key', async () => {
    const world = await startWorld();
    const { serial } = await hold(world.port);
    const { cert } = await certificates.serverAuthority.issue({ name: 'odd', usage: 'server' });
    await copyFile(cert, world.files.cert);
    const stale = 'culvert_broker_files_stale{what="certificate and key of --listen"} 1';
    await expect.poll(() => world.metrics(), reloaded).toContain(stale);
    expect((await hold(world.port)).serial).toBe(serial);
    expect(
      world.lines.filter(({ event }) => String(event).startsWith('changed files')),
    ).toHaveLength(1);
  });

  it('A broker trusts the CAs that its bundle contains now', async () => {
    const world = await startWorld();
    const next = await AgentAuthority.create('next');
    const [old, young] = [await agents.issue(), await next.issue()];
    expect(await refusalOf(knock(world, { certificate: young }))).toContain('unknown_ca');
    await writeFile(world.files.agentCa, next.pem + agents.pem);
    const tries = () => refusalOf(knock(world, { certificate: young }));
    await expect.poll(tries, reloaded).toBe('let in');
    expect(await refusalOf(knock(world, { certificate: old, cluster: 'c1' }))).toBe('let in');
    await writeFile(world.files.agentCa, next.pem);
    const late = () => refusalOf(knock(world, { certificate: old }));
    await expect.poll(late, reloaded).toContain('unknown_ca');
  });
});

describe('The front for konnectivity clients', () => {
  interface Front {
    readonly address: string;
    readonly files: Readonly<Record<'certFile' | 'keyFile' | 'clientCaFile', string>>;
  }
  async function startFront(): Promise<Front> {
    const root = join(directory, `front-${++worlds}`);
    const files = {
      certFile: `${root}.crt`,
      keyFile: `${root}.key`,
      clientCaFile: `${root}-ca.crt`,
    };
    await copyFile(certificates.server.cert, files.certFile);
    await copyFile(certificates.server.key, files.keyFile);
    await copyFile(certificates.client.ca, files.clientCaFile);
    const world = await startWorld();
    const bridge = await startBridge(
      { listen: { host: '127.0.0.1', port: 0 }, tls: files },
      { dialer: world.broker.dialer, log: silentLogger },
    );
    onTestFinished(() => bridge.close());
    return { address: bridge.addresses[0]!, files };
  }
  /** `No agent available` is the answer to a client that was let in: there is no agent. */
  async function ask({ address }: Front, client: { readonly cert: string; readonly key: string }) {
    const tls = { serverCa: certificates.server.ca, client: { ...client, ca: '' } };
    await using opened = await openClient({ address, tls });
    return await opened.dial('nobody:443').then(
      () => 'connected',
      (thrown: unknown) => (thrown as Error).message,
    );
  }
  const letIn = 'No agent available';

  it("The front admits a client with a client certificate, and refuses an agent's", async () => {
    const front = await startFront();
    expect(await ask(front, certificates.client)).toContain(letIn);
    const path = await agents.directory(join(directory, 'not-a-client'));
    const agent = { cert: join(path, 'tls.crt'), key: join(path, 'tls.key') };
    expect(await ask(front, agent)).not.toContain(letIn);
  });

  it('The front uses changed files: certificate, key and the CA of clients', async () => {
    const front = await startFront();
    const port = Number(front.address.split(':')[1]);
    const serialNow = async (): Promise<string> => {
      const { cert, key } = certificates.client;
      const [certPem, keyPem] = [await readFile(cert), await readFile(key)];
      const options = { host: '127.0.0.1', port, ca: serverCa, servername: 'localhost' };
      const socket = connectTls({ ...options, cert: certPem, key: keyPem, ALPNProtocols: ['h2'] });
      await once(socket, 'secureConnect');
      const serial = socket.getPeerCertificate().serialNumber;
      socket.destroy();
      return serial;
    };
    await using before = await openClient({
      address: front.address,
      tls: { serverCa: certificates.server.ca, client: certificates.client },
    });
    await expect(before.dial('nobody:443')).rejects.toThrow(letIn);
    const serial = await serialNow();
    const fresh = await certificates.serverAuthority.issue({ name: 'fresh', usage: 'server' });
    await copyFile(fresh.cert, front.files.certFile);
    await copyFile(fresh.key, front.files.keyFile);
    await expect.poll(serialNow, reloaded).not.toBe(serial);
    // Another CA of clients: who is there stays, who comes with a certificate of the old one does not get in.
    await copyFile(certificates.stranger.ca, front.files.clientCaFile);
    await expect.poll(() => ask(front, certificates.stranger), reloaded).toContain(letIn);
    expect(await ask(front, certificates.client)).not.toContain(letIn);
    await expect(before.dial('nobody:443')).rejects.toThrow(letIn);
  });
});
