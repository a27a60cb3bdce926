import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, startProgram, type Program } from '../../processes/process.ts';
import { ClusterPki } from './cluster-pki.ts';
import { apiServerArguments, controllerManagerArguments, etcdArguments } from './control-plane.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { Kubectl, type CallOptions, type Manifest } from './kubectl.ts';
import { applyOcm, type OcmPart } from './ocm-manifests.ts';
import type { ApiServerProgram, Programs } from './programs.ts';

const readyTimeoutMs = 60_000;
const pollMs = 50;

export interface ApiServerOptions {
  /**
   * Also runs kube-controller-manager: default ServiceAccounts, garbage collection, CSR signing
   * (default false).
   */
  readonly controllerManager?: boolean;
  /** The parts of Open Cluster Management to apply at the start (default: nothing). */
  readonly ocm?: readonly OcmPart[];
  /** More flags of kube-apiserver. */
  readonly apiServerFlags?: readonly string[];
  /** Default: a free port. */
  readonly port?: number;
}

export interface UserOptions {
  readonly user: string;
  readonly groups?: readonly string[];
}

export interface TokenOptions {
  /** Default: that of the API server. */
  readonly audience?: string;
  /** Default 3600; the API server gives at least 600. */
  readonly durationSeconds?: number;
}

/** A Kubernetes API on loopback, without nodes. Its processes end with its scope. */
export interface RunningApiServer extends AsyncDisposable {
  readonly url: string;
  /** The CA of its serving certificate and of its users' certificates, in PEM. */
  readonly caFile: string;
  /** The path of a kubeconfig of a member of system:masters. */
  readonly kubeconfigFile: string;
  /** A temporary directory that is deleted with the server. */
  readonly directory: string;
  readonly pki: ClusterPki;
  /** kubectl as an administrator; its stdout. */
  kubectl(args: readonly string[], options?: CallOptions): Promise<string>;
  /** `kubectl get ARGS -o json`, parsed. */
  get<T = unknown>(...args: string[]): Promise<T>;
  /** Server-side apply, forced; `args` are added, such as `--dry-run=server`. */
  apply(manifest: Manifest, args?: readonly string[]): Promise<string>;
  /** A token of a ServiceAccount that exists. */
  token(namespace: string, serviceAccount: string, options?: TokenOptions): Promise<string>;
  /** Path of a kubeconfig whose certificate names this user and these groups. */
  kubeconfigFor(user: UserOptions): Promise<string>;
  /** Kills the API server, until `comeBack`. */
  goAway(): Promise<void>;
  /** Starts the API server again with the same objects, at the same URL. */
  comeBack(): Promise<void>;
}

/** Starts etcd and kube-apiserver on free ports, so that several can run. Takes some seconds. */
export async function startApiServer(
  programs: Programs<ApiServerProgram>,
  options: ApiServerOptions = {},
): Promise<RunningApiServer> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'culvert-api-server-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));

  const pki = await ClusterPki.create(join(directory, 'pki'), 'ground-ca');
  const serving = await pki.issue({
    name: 'apiserver',
    user: 'kube-apiserver',
    dnsNames: ['localhost', 'kubernetes.default.svc'],
    ipAddresses: ['127.0.0.1'],
  });
  const [etcdPort, etcdPeerPort] = [await freePort(), await freePort()];
  const port = options.port ?? (await freePort());
  const url = `https://127.0.0.1:${port}`;
  const kubeconfigOf = async (name: string, user: string, groups: readonly string[] = []) =>
    writeKubeconfig(join(directory, `${name}.kubeconfig`), {
      url,
      caFile: pki.ca.cert,
      credentials: await pki.issue({ name, user, groups }),
    });
  const kubeconfigFile = await kubeconfigOf('admin', 'admin', ['system:masters']);
  const kubectl = new Kubectl(programs.kubectl, kubeconfigFile);

  const start = (command: string, args: readonly string[]) =>
    // kube-apiserver ends slowly after SIGTERM, and there is nothing to save.
    startProgram({ command, args, killAfterMs: 100, cwd: directory });
  const dataDirectory = join(directory, 'etcd');
  stack.use(
    start(
      programs.etcd,
      etcdArguments({ dataDirectory, clientPort: etcdPort, peerPort: etcdPeerPort }),
    ),
  );
  const serve = async (): Promise<Program> => {
    const apiServer = start(
      programs['kube-apiserver'],
      apiServerArguments({
        pki,
        serving,
        etcdPort,
        bindAddress: '127.0.0.1',
        port,
        serviceRange: '10.96.0.0/16',
        // The endpoints of its own Service would be on loopback, which Endpoints may not hold.
        extra: ['--endpoint-reconciler-type=none', ...(options.apiServerFlags ?? [])],
      }),
    );
    try {
      await untilReady(apiServer, `${url}/readyz`, await readFile(pki.ca.cert, 'utf8'));
      return apiServer;
    } catch (error) {
      await apiServer.stop();
      throw error;
    }
  };
  let apiServer: Program | undefined = await serve();
  const goAway = async () => {
    await apiServer?.stop();
    apiServer = undefined;
  };
  stack.defer(goAway);

  if (options.controllerManager) {
    const kubeconfig = await kubeconfigOf('kcm', 'system:kube-controller-manager');
    const args = controllerManagerArguments({ pki, kubeconfig, port: await freePort() });
    stack.use(start(programs['kube-controller-manager'], args));
    await until(() => kubectl.run(['-n', 'default', 'get', 'serviceaccount', 'default']));
  }
  await applyOcm(programs['ocm-manifests'], kubectl, options.ocm ?? []);

  const running = stack.move();
  let users = 0;
  return {
    url,
    caFile: pki.ca.cert,
    kubeconfigFile,
    directory,
    pki,
    kubectl: (args, callOptions) => kubectl.run(args, callOptions),
    get: (...args) => kubectl.get(...args),
    apply: (manifest, args) => kubectl.apply(manifest, args),
    token: (namespace, serviceAccount, tokenOptions = {}) =>
      createToken(kubectl, namespace, serviceAccount, tokenOptions),
    kubeconfigFor: ({ user, groups }) => kubeconfigOf(`user-${++users}`, user, groups),
    goAway,
    comeBack: async () => {
      apiServer ??= await serve();
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

async function untilReady(apiServer: Program, url: string, ca: string): Promise<void> {
  const over = new AbortController();
  const ended = apiServer.exited.then(() => {
    throw new Error(`kube-apiserver ended before it was ready:\n${apiServer.output}`);
  });
  const ready = until(async () => {
    over.signal.throwIfAborted();
    const response = await get(url, ca, over.signal);
    if (response !== 200) throw new Error(`${url} answers ${response}:\n${apiServer.output}`);
  }, over.signal);
  try {
    await Promise.race([ready, ended]);
  } finally {
    over.abort();
  }
}

/** The status of a GET. */
async function get(url: string, ca: string, signal: AbortSignal): Promise<number | undefined> {
  const outgoing = request(url, { ca, agent: false, signal }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

async function until(succeeds: () => Promise<unknown>, signal?: AbortSignal): Promise<void> {
  const deadline = Date.now() + readyTimeoutMs;
  for (;;) {
    try {
      await succeeds();
      return;
    } catch (error) {
      if (signal?.aborted || Date.now() > deadline) throw error;
      await sleep(pollMs);
    }
  }
}

async function createToken(
  kubectl: Kubectl,
  namespace: string,
  serviceAccount: string,
  { audience, durationSeconds = 3600 }: TokenOptions,
): Promise<string> {
  const token = await kubectl.run([
    ...['-n', namespace, 'create', 'token', serviceAccount, `--duration=${durationSeconds}s`],
    ...(audience === undefined ? [] : [`--audience=${audience}`]),
  ]);
  return token.trim();
}
