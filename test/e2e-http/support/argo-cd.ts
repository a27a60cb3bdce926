import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunningApiServer } from '../../../testkit/ground/kubernetes/api-server.ts';
import { run } from '../../../testkit/ground/kubernetes/run.ts';
import { waitFor } from '../../../testkit/ground/kubernetes/wait.ts';
import { startRedis } from '../../../testkit/ground/services.ts';
import { startLoopbackRelay } from '../../../testkit/network/loopback-relay.ts';
import { NetworkNamespace } from '../../../testkit/network/network-namespace.ts';
import { freePort, startProgram, type Program } from '../../../testkit/processes/process.ts';
import type { PlanePrograms } from './prepare.ts';

const namespace = 'argocd';
/** Argo CD compares each application again after so long, in case it has missed a change. */
const resyncSeconds = 3600;

export interface ArgoCdOptions {
  /** The cluster of Argo CD itself. */
  readonly hub: RunningApiServer;
  /** A directory for its repository and files. */
  readonly directory: string;
  /** Names of loopback that Argo CD finds in DNS. */
  readonly hosts: readonly string[];
  /** The port of the gateway on loopback. */
  readonly gatewayPort: number;
}

/** A cluster as Argo CD's Secret describes it. */
export interface ArgoCdCluster {
  readonly name: string;
  readonly server: string;
  readonly token: string;
  readonly caFile: string;
}

export interface ApplicationStatus {
  readonly sync?: { readonly status?: string; readonly revision?: string };
  readonly health?: { readonly status?: string };
  readonly conditions?: readonly { readonly type: string; readonly message: string }[];
  readonly operationState?: { readonly phase?: string; readonly message?: string };
}

/** Argo CD's application controller and repository server, with a Git repository of manifests. */
export class ArgoCd implements AsyncDisposable {
  readonly controller: Program;
  readonly #hub: RunningApiServer;
  readonly #repository: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    controller: Program,
    hub: RunningApiServer,
    repository: string,
    stack: AsyncDisposableStack,
  ) {
    this.controller = controller;
    this.#hub = hub;
    this.#repository = repository;
    this.#stack = stack;
  }

  static async start(programs: PlanePrograms, options: ArgoCdOptions): Promise<ArgoCd> {
    const { hub, directory, hosts, gatewayPort } = options;
    await using stack = new AsyncDisposableStack();
    const repository = join(directory, 'manifests');
    await mkdir(repository);
    await git(repository, 'init', '--quiet', '--initial-branch=main');
    const hostsFile = join(directory, 'argocd.hosts');
    await writeFile(hostsFile, `127.0.0.1 ${['localhost', ...hosts].join(' ')}\n`);
    await hub.apply(customResourceDefinitions);
    await waitFor(() => hub.kubectl(['get', 'applications.argoproj.io']), {
      what: 'the resources of Argo CD',
      timeoutMs: 30_000,
    });
    await hub.apply(settings);
    const redis = stack.use(await startRedis(programs.redis));
    // The controller offers its metrics on all addresses, which no flag changes.
    const apart = stack.use(await NetworkNamespace.create());
    const needed = [redis.port, gatewayPort, Number(new URL(hub.url).port)];
    stack.use(await startLoopbackRelay(apart, directory, needed));
    const port = await freePort();
    const start = (name: string, args: readonly string[]): Program =>
      stack.use(
        startProgram(
          apart.inside({
            name,
            command: 'unshare',
            // The second program of the command line sees these names instead of the machine's.
            args: [
              ...['--mount', 'sh', '-c', 'mount --bind "$0" /etc/hosts && exec "$@"', hostsFile],
              ...[programs.http.argocd, name, '--redis', `127.0.0.1:${redis.port}`, ...args],
            ],
            env: { ARGOCD_GPG_ENABLED: 'false', HOME: directory, TMPDIR: directory },
            killAfterMs: 1000,
          }),
        ),
      );
    const repoServer = start('argocd-repo-server', [
      ...['--address', '127.0.0.1', '--port', `${port}`, '--disable-tls'],
      ...['--metrics-address', '127.0.0.1', '--metrics-port', `${await freePort()}`],
    ]);
    await repoServer.waitForLine(/is listening on/);
    const controller = start('argocd-application-controller', [
      ...['--kubeconfig', hub.kubeconfigFile, '--namespace', namespace],
      ...['--repo-server', `127.0.0.1:${port}`, '--repo-server-plaintext'],
      ...['--metrics-port', `${await freePort()}`, '--app-resync', `${resyncSeconds}`],
    ]);
    return new ArgoCd(controller, hub, repository, stack.move());
  }

  /** Tells Argo CD of a cluster, by a Secret. */
  async addCluster({ name, server, token, caFile }: ArgoCdCluster): Promise<void> {
    const caData = await readFile(caFile, 'base64');
    await this.#hub.apply([
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: {
          ...{ name: `cluster-${name}`, namespace },
          labels: { 'argocd.argoproj.io/secret-type': 'cluster' },
        },
        stringData: {
          ...{ name, server },
          config: JSON.stringify({ bearerToken: token, tlsClientConfig: { caData } }),
        },
      },
    ]);
  }

  /** Commits the manifests of an application, as the only content of its directory. */
  async commit(application: string, manifests: Readonly<Record<string, object>>): Promise<void> {
    const directory = join(this.#repository, application);
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory);
    for (const [name, manifest] of Object.entries(manifests)) {
      await writeFile(join(directory, `${name}.json`), JSON.stringify(manifest));
    }
    await git(this.#repository, 'add', '--all');
    await git(this.#repository, 'commit', '--quiet', '--message', application);
  }

  /** Creates an application that keeps a cluster equal to its manifests. */
  async addApplication(application: string, cluster: string): Promise<void> {
    await this.#hub.apply([
      {
        apiVersion: 'argoproj.io/v1alpha1',
        kind: 'Application',
        metadata: {
          ...{ name: application, namespace },
          // Without a garbage collector, only deletion in the background ends.
          finalizers: ['resources-finalizer.argocd.argoproj.io/background'],
        },
        spec: {
          project: 'default',
          source: {
            repoURL: `file://${this.#repository}`,
            path: application,
            targetRevision: 'main',
          },
          destination: { name: cluster, namespace: 'default' },
          syncPolicy: {
            automated: { prune: true, selfHeal: true },
            syncOptions: ['PrunePropagationPolicy=background'],
          },
        },
      },
    ]);
  }

  /** Makes Argo CD look for new commits. */
  async refresh(application: string): Promise<void> {
    const annotation = 'argocd.argoproj.io/refresh=normal';
    await this.#kubectl('annotate', '--overwrite', 'application', application, annotation);
  }

  async status(application: string): Promise<ApplicationStatus> {
    const found = await this.#hub.get<{ readonly status?: ApplicationStatus }>(
      ...['-n', namespace, 'application', application],
    );
    return found.status ?? {};
  }

  async deleteApplication(application: string): Promise<void> {
    await this.#kubectl('delete', 'application', application, '--timeout=60s');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #kubectl(...args: string[]): Promise<void> {
    await this.#hub.kubectl(['-n', namespace, ...args]);
  }
}

async function git(directory: string, ...args: string[]): Promise<void> {
  const user = ['-c', 'user.name=test', '-c', 'user.email=test@example.com'];
  await run({ command: 'git', args: ['-C', directory, ...user, ...args] });
}

/** Argo CD's kinds, without their schemas. */
const customResourceDefinitions = ['Application', 'AppProject'].map((kind) => {
  const plural = `${kind.toLowerCase()}s`;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.argoproj.io` },
    spec: {
      group: 'argoproj.io',
      scope: 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
      versions: [
        {
          ...{ name: 'v1alpha1', served: true, storage: true },
          schema: {
            openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
          },
        },
      ],
    },
  };
});

const partOf = { 'app.kubernetes.io/part-of': 'argocd' };
const settings = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'argocd-cm', namespace, labels: partOf },
  },
  {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'argocd-secret', namespace, labels: partOf },
    stringData: { 'server.secretkey': 'not used' },
  },
  {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'AppProject',
    metadata: { name: 'default', namespace },
    spec: {
      sourceRepos: ['*'],
      destinations: [{ server: '*', namespace: '*' }],
      clusterResourceWhitelist: [{ group: '*', kind: '*' }],
    },
  },
];
