// node bench/http/edge-cpu.ts: what a GET through the gateway in the Worker costs in CPU. The deployed bundle runs on
// workerd itself, because the development server of wrangler adds processes and a proxy.
//   --requests N     for each row (default 2000)
//   --cpu-prof FILE  a CPU profile of the Worker and its object during the last row
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
import { parseArgs } from 'node:util';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { generateTokenKeyPair, issueToken } from '../../src/base/tokens/enrolment-token.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { offlineEnv } from '../../scripts/local-worker.ts';
import { cpuSeconds } from '../cpu.ts';
import { profileWorker } from './worker-profile.ts';

const { values } = parseArgs({
  options: { requests: { type: 'string', default: '2000' }, 'cpu-prof': { type: 'string' } },
});
const requests = Number(values.requests);
const concurrency = 16;
const project = fileURLToPath(new URL('../../', import.meta.url));
const program = (name: string): string => join(project, 'node_modules/.bin', name);

await using parts = new AsyncDisposableStack();
const directory = await mkdtemp(join(tmpdir(), 'culvert-edge-cpu-'));
parts.defer(() => rm(directory, { recursive: true }));

const certificates = parts.use(await makeTestCertificates());
const { server: files } = certificates;
const [key, cert] = await Promise.all([readFile(files.key), readFile(files.cert)]);
const body = JSON.stringify({ kind: 'PodList', items: 'x'.repeat(900) });
const review = JSON.stringify({
  ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview' },
  status: { authenticated: true, user: { username: 'jane', groups: ['dev'] } },
});
const apiServer = createTlsServer({ key, cert }, (request, response) => {
  const isReview = request.url!.endsWith('/tokenreviews');
  response.writeHead(isReview ? 201 : 200, { 'Content-Type': 'application/json' });
  response.end(isReview ? review : body);
}).listen(0, '127.0.0.1');
await once(apiServer, 'listening');
parts.defer(() => {
  apiServer.closeAllConnections();
  apiServer.close();
});

const { privateKeyPem, publicKeyPem } = await generateTokenKeyPair();
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
const worker = await startWorkerd({
  CULVERT_TOKEN_PUBLIC_KEY: publicKeyPem,
  CULVERT_GATEWAY: 'true',
  CULVERT_POLICY: policy,
});
const token = await issueToken(privateKeyPem, { kind: 'agent', cluster: 'c1' }, 3_600_000);
await writeFile(join(directory, 'token'), token.reveal());
const { options } = readAgentOptions(
  [
    ...[`--broker-url=ws://127.0.0.1:${worker.port}`, '--cluster=c1', '--tunnels=1'],
    ...[`--token-file=${join(directory, 'token')}`, '--drain-timeout=1s'],
    ...[`--kube-apiserver=127.0.0.1:${(apiServer.address() as AddressInfo).port}`],
    ...[`--kube-ca-file=${files.ca}`, `--kube-token-file=${join(directory, 'token')}`],
  ],
  {},
);
const agent = parts.use(await startAgent(options, { log: silentLogger }));
await agent.connected;

const rows = [
  { name: 'the Worker alone (/healthz)', path: '/healthz', headers: {} },
  { name: 'GET without a token', path: '/c1/api/v1/pods', headers: {} },
  { name: 'GET with a token', path: '/c1/api/v1/pods', headers: { Authorization: 'Bearer t' } },
];
console.log(`${requests} requests each, ${concurrency} at a time`);
for (const row of rows) {
  await send(row, requests / 4);
  const isProfiled = values['cpu-prof'] !== undefined && row === rows.at(-1);
  const stop = isProfiled ? await profileWorker(worker.inspectorPort) : undefined;
  const before = cpuSeconds([worker.pid]);
  const startedMs = performance.now();
  await send(row, requests);
  const cpuMs = ((cpuSeconds([worker.pid]) - before) * 1000) / requests;
  const tookMs = performance.now() - startedMs;
  const perSecond = Math.round((requests * 1000) / tookMs);
  console.log(`${row.name}: ${cpuMs.toFixed(2)} ms of CPU, ${perSecond} requests/s`);
  if (stop !== undefined) await stop(values['cpu-prof']!);
}

async function send(
  { path, headers }: { readonly path: string; readonly headers: Record<string, string> },
  count: number,
): Promise<void> {
  const connections = new Agent({ keepAlive: true, maxSockets: concurrency });
  let left = count;
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const request = httpRequest({
        ...{ host: '127.0.0.1', port: worker.port, path, headers, agent: connections },
      }).end();
      const [response] = await once(request, 'response');
      response.resume();
      await once(response, 'end');
      if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  connections.destroy();
}

async function startWorkerd(variables: Readonly<Record<string, string>>) {
  const build = spawn(program('wrangler'), ['deploy', '--dry-run', '--outdir', directory], {
    cwd: project,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, ...offlineEnv },
  });
  const [code] = await once(build, 'exit');
  if (code !== 0) throw new Error('wrangler has not built the Worker');
  const [port, inspectorPort] = [await freePort(), await freePort()];
  const bindings = Object.entries(variables).map(
    ([name, text]) => `(name = "${name}", text = ${JSON.stringify(text)})`,
  );
  const config = `using Workerd = import "/workerd/workerd.capnp";
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
  await writeFile(join(directory, 'config.capnp'), config);
  const inspector = values['cpu-prof'] === undefined ? [] : [`-i127.0.0.1:${inspectorPort}`];
  const workerd = join(project, 'node_modules/@cloudflare/workerd-linux-64/bin/workerd');
  const child = spawn(workerd, ['serve', ...inspector, join(directory, 'config.capnp')], {
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

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}
