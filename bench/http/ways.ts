import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { UpstreamPrograms } from '../../testkit/ground/go-programs.ts';
import { startManagedApi, type ManagedApi } from '../../testkit/ground/http/managed-api.ts';
import type { HttpPrograms } from '../../testkit/ground/http/http-programs.ts';
import { writeKubeconfig } from '../../testkit/ground/kubernetes/kubeconfig.ts';
import type { ApiServerProgram, Programs } from '../../testkit/ground/kubernetes/programs.ts';
import { NetworkNamespace } from '../../testkit/network/network-namespace.ts';
import { freePort, startProgram } from '../../testkit/processes/process.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { startBareChain } from '../bare/bare-chain.ts';
import { startCulvertPlane } from './culvert-plane.ts';
import { startUpstreamChain } from './upstream-chain.ts';

/** The compared ways from a client to the kube-apiserver. `bare` is the lower bound. */
export type WayName = 'direct' | 'kubectl-proxy' | 'upstream' | 'culvert' | 'konnectivity' | 'bare';

export const wayNames: readonly WayName[] = [
  'culvert',
  'upstream',
  'konnectivity',
  'bare',
  'kubectl-proxy',
  'direct',
];

export interface Way {
  readonly name: WayName;
  /** Flags of the load generator. */
  readonly flags: readonly string[];
  /** HTTP/2 as clients of Kubernetes speak it, or only HTTP/1.1. */
  readonly speaksHttp2: boolean;
  /** Processes of the tunnel. Empty for a direct connection. */
  readonly pids: readonly number[];
  /** The process that clients connect to. */
  readonly gatewayPid: number | undefined;
}

export interface Ways extends AsyncDisposable {
  readonly api: ManagedApi;
  readonly byName: ReadonlyMap<WayName, Way>;
  /** Flags for changes at the API server itself. */
  readonly writerFlags: readonly string[];
}

export interface WaysPrograms {
  readonly http: Pick<HttpPrograms, 'load' | 'kubelet' | 'clusterProxy'>;
  readonly kubernetes: Programs<ApiServerProgram>;
  readonly konnectivity: UpstreamPrograms;
}

export interface WaysOptions {
  readonly names: readonly WayName[];
  /** The directory for CPU profiles of culvert's processes. */
  readonly cpuProfiles?: string | undefined;
}

const cluster = 'cluster1';
/** An address of the kubelet (RFC 5737), because kube-apiserver has no node proxy to loopback. */
export const nodeAddress = '198.51.100.1';

/**
 * Starts one kube-apiserver and all ways to it. The caller's network namespace has only loopback,
 * because upstream's programs listen on fixed ports of all addresses.
 */
export async function startWays(
  programs: WaysPrograms,
  { names, cpuProfiles }: WaysOptions,
): Promise<Ways> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'culvert-bench-http-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const certificates = stack.use(await makeTestCertificates());
  const api = stack.use(
    await startManagedApi(programs.kubernetes, programs.http, { port: 443, nodeAddress }),
  );
  const { server } = api;
  await server.apply(clientObjects);
  const tokenFile = join(directory, 'token');
  await writeFile(tokenFile, await server.token('default', 'client', { durationSeconds: 86_400 }));
  const token = ['--token', tokenFile];
  const byName = new Map<WayName, Way>();
  const add = (way: Way): void => void byName.set(way.name, way);

  if (names.includes('direct')) {
    const flags = ['--url', server.url, '--ca', server.caFile, ...token];
    add({ name: 'direct', flags, speaksHttp2: true, pids: [], gatewayPid: undefined });
  }
  if (names.includes('bare')) {
    const chain = await startBareChain(stack, {
      certificates,
      hasClientCertificates: false,
      target: { port: Number(new URL(server.url).port || 443), ca: server.caFile },
    });
    const flags = ['--url', `https://${chain.address}`, '--ca', certificates.server.ca, ...token];
    const pids = [chain.broker.pid, chain.agent.pid];
    add({ name: 'bare', flags, speaksHttp2: true, pids, gatewayPid: chain.broker.pid });
  }
  if (names.includes('kubectl-proxy')) {
    const kubeconfig = await writeKubeconfig(join(directory, 'client.kubeconfig'), {
      url: server.url,
      caFile: server.caFile,
      credentials: { token: await server.token('default', 'client', { durationSeconds: 86_400 }) },
    });
    const port = await freePort();
    const proxy = stack.use(
      startProgram({
        command: programs.kubernetes.kubectl,
        name: 'kubectl proxy',
        args: [`--kubeconfig=${kubeconfig}`, 'proxy', `--port=${port}`, '--disable-filter'],
      }),
    );
    await proxy.waitForPort(port);
    const flags = ['--url', `http://127.0.0.1:${port}`];
    const gatewayPid = proxy.pid;
    add({ name: 'kubectl-proxy', flags, speaksHttp2: false, pids: [gatewayPid], gatewayPid });
  }
  if (names.includes('upstream')) {
    const hub = stack.use(await NetworkNamespace.create());
    const chain = await startUpstreamChain(stack, {
      programs: programs.http,
      konnectivity: programs.konnectivity,
      certificates,
      server,
      hub,
      cluster,
      tokenFile,
    });
    add({
      name: 'upstream',
      flags: ['--url', chain.url, '--ca', chain.caFile, ...token],
      speaksHttp2: true,
      pids: chain.programs.map(({ pid }) => pid),
      gatewayPid: chain.userServer.pid,
    });
  }

  if (names.includes('culvert') || names.includes('konnectivity')) {
    const plane = await startCulvertPlane(stack, {
      ...{ certificates, server, cluster, cpuProfiles },
      directory,
    });
    const pids = [plane.broker.pid, plane.agent.pid];
    const gatewayPid = plane.broker.pid;
    const flags = ['--url', plane.url, '--ca', certificates.server.ca, ...token];
    add({ name: 'culvert', flags, speaksHttp2: true, pids, gatewayPid });
    const { client } = certificates;
    const front = [
      ...['--front', plane.front, '--front-ca', certificates.server.ca],
      ...['--front-cert', client.cert, '--front-key', client.key],
      ...['--url', `https://${cluster}`, '--server-name', 'localhost', '--ca', server.caFile],
    ];
    const through = [...front, ...token];
    add({ name: 'konnectivity', flags: through, speaksHttp2: true, pids, gatewayPid });
  }

  const running = stack.move();
  return {
    api,
    byName,
    writerFlags: [
      ...['--writer', server.url, '--writer-ca', server.caFile, '--writer-token', tokenFile],
    ],
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** The user of the measurements. */
const clientObjects = [
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'client', namespace: 'default' } },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'client' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
    subjects: [{ kind: 'ServiceAccount', name: 'client', namespace: 'default' }],
  },
];
