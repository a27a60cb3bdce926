import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request as httpRequest } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { generateTokenKeyPair, issueToken } from '../../src/base/tokens/enrolment-token.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { offlineEnv } from '../../scripts/local-worker.ts';
import { cpuSeconds } from '../cpu.ts';
import { profileWorker } from './worker-profile.ts';

const concurrency = 16;
const project = fileURLToPath(new URL('../../', import.meta.url));

const policy = JSON.stringify({
  rules: [
    {
      name: 'developers',
      subjects: { groups: ['dev'], anonymous: true },
      clusters: { names: ['c1'] },
      allow: [{ all: true }],
    },
  ],
});
const list = JSON.stringify({ kind: 'PodList', items: 'x'.repeat(900) });
const review = JSON.stringify({
  ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' },
  status: { authenticated: true, user: { username: 'jane', groups: ['dev'] } },
});

interface Row {
  readonly name: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

const pods = '/c1/api/v1/pods';
const rows: readonly Row[] = [
  { name: 'the Worker alone (/healthz)', path: '/healthz', headers: {} },
  { name: 'GET without a token', path: pods, headers: {} },
  { name: 'GET with a token', path: pods, headers: { Authorization: 'Bearer t' } },
];

/**
 * Prints what a GET through the gateway in the Worker costs in CPU. The deployed bundle runs on
 * workerd itself, because the development server of wrangler adds processes and a proxy.
 *
 * @param profile the file for a CPU profile of the last row (default: none)
 */
export async function measureWorkerCpu(
  requests: number,
  profile: string | undefined,
): Promise<void> {
  await using parts = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'culvert-worker-cpu-'));
  parts.defer(() => rm(directory, { recursive: true }));
  const worker = await startWorld(parts, directory, profile !== undefined);
  console.log(`${requests} requests each, ${concurrency} at a time`);
  for (const row of rows) {
    await send(worker.port, row, requests / 4);
    const isProfiled = profile !== undefined && row === rows.at(-1);
    const stop = isProfiled ? await profileWorker(worker.inspectorPort) : undefined;
    const before = cpuSeconds([worker.pid]);
    const startedMs = performance.now();
    await send(worker.port, row, requests);
    const cpuMs = ((cpuSeconds([worker.pid]) - before) * 1000) / requests;
    const perSecond = Math.round((requests * 1000) / (performance.now() - startedMs));
    console.log(`${row.name}: ${cpuMs.toFixed(2)} ms of CPU, ${perSecond} requests/s`);
    await stop?.(profile!);
  }
}

/** The Worker, with an agent of `c1` and its kube-apiserver. */
async function startWorld(parts: AsyncDisposableStack, directory: string, isProfiled: boolean) {
  const certificates = parts.use(await makeTestCertificates());
  const { server: files } = certificates;
  const [key, cert] = await Promise.all([readFile(files.key), readFile(files.cert)]);
  const apiServer = createTlsServer({ key, cert }, (request, response) => {
    const isReview = request.url!.endsWith('/tokenreviews');
    response.writeHead(isReview ? 201 : 200, { 'Content-Type': 'application/json' });
    response.end(isReview ? review : list);
  }).listen(0, '127.0.0.1');
  await once(apiServer, 'listening');
  parts.defer(() => {
    apiServer.closeAllConnections();
    apiServer.close();
  });
  const { privateKeyPem, publicKeyPem } = await generateTokenKeyPair();
  const worker = await startWorkerd(parts, directory, {
    isProfiled,
    variables: {
      CULVERT_TOKEN_PUBLIC_KEY: publicKeyPem,
      CULVERT_GATEWAY: 'true',
      CULVERT_LOG_LEVEL: 'warn',
      CULVERT_POLICY: policy,
    },
  });
  const token = await issueToken(privateKeyPem, { kind: 'agent', cluster: 'c1' }, 3_600_000);
  const tokenFile = join(directory, 'token');
  await writeFile(tokenFile, token.reveal());
  const { options } = readAgentOptions(
    [
      ...[`--broker-url=ws://127.0.0.1:${worker.port}`, '--cluster=c1', '--tunnels=1'],
      ...[`--token-file=${tokenFile}`, '--drain-timeout=1s'],
      ...[`--kube-apiserver=127.0.0.1:${(apiServer.address() as AddressInfo).port}`],
      ...[`--kube-ca-file=${files.ca}`, `--kube-token-file=${tokenFile}`],
    ],
    {},
  );
  const agent = parts.use(await startAgent(options, { log: silentLogger }));
  await agent.connected;
  return worker;
}

async function send(port: number, { path, headers }: Row, count: number): Promise<void> {
  const connections = new Agent({ keepAlive: true, maxSockets: concurrency });
  let left = count;
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const request = httpRequest({ host: '127.0.0.1', port, path, headers, agent: connections });
      request.end();
      const [response] = await once(request, 'response');
      response.resume();
      await once(response, 'end');
      if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  connections.destroy();
}

async function startWorkerd(
  parts: AsyncDisposableStack,
  directory: string,
  options: {
    readonly isProfiled: boolean;
    readonly variables: Readonly<Record<string, string>>;
  },
) {
  const wrangler = join(project, 'node_modules/.bin/wrangler');
  const build = spawn(wrangler, ['deploy', '--dry-run', '--outdir', directory], {
    cwd: project,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...offlineEnv },
  });
  const [code] = await once(build, 'exit');
  if (code !== 0) throw new Error('wrangler has not built the Worker');
  const [port, inspectorPort] = [await freePort(), await freePort()];
  const config = join(directory, 'config.capnp');
  await writeFile(config, configText(port, directory, options.variables));
  const workerd = join(project, 'node_modules/.bin/workerd');
  const inspector = options.isProfiled ? [`-i127.0.0.1:${inspectorPort}`] : [];
  const child = spawn(workerd, ['serve', ...inspector, config], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  parts.defer(() => void child.kill('SIGKILL'));
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined);
    if (answer?.ok === true) return { port, inspectorPort, pid: child.pid! };
    if (child.exitCode !== null) throw new Error('workerd has ended');
    await new Promise((resolve) => void setTimeout(resolve, 50));
  }
}

function configText(
  port: number,
  directory: string,
  variables: Readonly<Record<string, string>>,
): string {
  const bindings = Object.entries(variables).map(
    ([name, text]) => `(name = "${name}", text = ${JSON.stringify(text)})`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      modules = [(name = "worker.js", esModule = embed "worker.js")],
      compatibilityDate = "2026-10-20",
      durableObjectNamespaces = [(className = "ClusterObject", uniqueKey = "c", enableSql = true)],
      durableObjectStorage = (localDisk = "disk"),
      bindings = [(name = "CLUSTER", durableObjectNamespace = "ClusterObject"), ${bindings.join(', ')}],
    )),
    (name = "disk", disk = (path = "${directory}", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")],
);
`;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
