import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inject } from 'vitest';
import {
  agentNamespace,
  agentServiceAccount,
  startManagedApi,
  type ManagedApi,
} from '../../../testkit/ground/http/managed-api.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../../testkit/ground/kubernetes/api-server.ts';
import { writeKubeconfig } from '../../../testkit/ground/kubernetes/kubeconfig.ts';
import { Kubectl } from '../../../testkit/ground/kubernetes/kubectl.ts';
import { startLoadBalancer, type LoadBalancer } from '../../../testkit/network/load-balancer.ts';
import { freePort, startProgram, type Program } from '../../../testkit/processes/process.ts';
import {
  makeTestCertificates,
  type TestCertificates,
} from '../../../testkit/world/certificates.ts';
import { culvert, logged, loggedLine, TestTokens } from '../../../testkit/world/world.ts';
import type { PlanePrograms } from './prepare.ts';

/** The domain of the second form of URLs. */
export const domain = 'clusters.culvert.test';
export const clusterNames = ['cluster1', 'cluster2'] as const;
export type ClusterName = (typeof clusterNames)[number];

export interface PlaneOptions {
  /** Whether the gateway is a process of its own (default: it is part of the broker). */
  readonly gatewayApart?: boolean;
  /**
   * The hub, which its caller ends. The gateway uses its `kubeconfigFile` (default: an API server
   * of its own, as an administrator).
   */
  readonly hub?: RunningApiServer;
  /** Default: both. */
  readonly clusters?: readonly ClusterName[];
  /** Services that clients reach by path. */
  readonly exposedServices?: readonly object[];
  /** Names that an agent finds in the DNS of its cluster: per cluster, name to address. */
  readonly hosts?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Whether there are also fronts for bytes: HTTP CONNECT and SOCKS 5 (default: none). */
  readonly hasByteFronts?: boolean;
  /**
   * The port of a Redis. With it, the broker has a second replica, which also has a gateway and holds
   * the tunnels of all agents.
   */
  readonly redisPort?: number;
  /** Rules of the broker, its gateway and its fronts (default: none). */
  readonly policy?: object;
  /** More flags of the process with the gateway. */
  readonly gatewayArgs?: readonly string[];
  readonly agentArgs?: readonly string[];
}

/**
 * The HTTP plane with real kube-apiservers: a hub, managed clusters, a broker, an agent per cluster
 * and a gateway. Tokens of hub users are reviewed by the hub.
 */
export class Plane implements AsyncDisposable {
  readonly hub: RunningApiServer;
  readonly apis: ReadonlyMap<ClusterName, ManagedApi>;
  readonly directory: string;
  readonly certificates: TestCertificates;
  readonly tokens: TestTokens;
  readonly #programs: PlanePrograms;
  readonly #options: PlaneOptions;
  readonly #stack: AsyncDisposableStack;
  readonly #brokerPort: number;
  readonly #gatewayPort: number;
  readonly #started: Program[] = [];
  readonly #agents = new Map<ClusterName, Program>();
  #exposedServicesFile = '';
  #broker: Program | undefined;
  #gateway: Program | undefined;
  #relay: Program | undefined;
  /** Agents reach the replicas through it. */
  #balancer: LoadBalancer | undefined;
  #count = 0;
  #frontAddress = '';
  #socksAddress = '';

  private constructor(
    parts: Pick<Plane, 'hub' | 'apis' | 'directory' | 'certificates' | 'tokens'>,
    ports: { readonly broker: number; readonly gateway: number },
    programs: PlanePrograms,
    options: PlaneOptions,
    stack: AsyncDisposableStack,
  ) {
    ({
      hub: this.hub,
      apis: this.apis,
      directory: this.directory,
      certificates: this.certificates,
      tokens: this.tokens,
    } = parts);
    this.#brokerPort = ports.broker;
    this.#gatewayPort = ports.gateway;
    this.#programs = programs;
    this.#options = options;
    this.#stack = stack;
  }

  static async start(programs: PlanePrograms, options: PlaneOptions = {}): Promise<Plane> {
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), 'culvert-http-plane-'));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const certificates = stack.use(await makeTestCertificates());
    const server = await certificates.serverAuthority.issue({
      name: 'gateway',
      usage: 'server',
      dnsNames: ['localhost', `*.${domain}`],
    });
    const hub = options.hub ?? stack.use(await startApiServer(programs.kubernetes));
    const apis = new Map<ClusterName, ManagedApi>();
    for (const name of options.clusters ?? clusterNames) {
      apis.set(name, stack.use(await startManagedApi(programs.kubernetes, programs.http)));
    }
    const plane = new Plane(
      {
        hub,
        apis,
        directory,
        certificates: { ...certificates, server },
        tokens: await TestTokens.create(directory),
      },
      { broker: await freePort(), gateway: await freePort() },
      programs,
      options,
      stack.move(),
    );
    try {
      await plane.#start();
      return plane;
    } catch (error) {
      await plane[Symbol.asyncDispose]();
      throw error;
    }
  }

  get broker(): Program {
    return this.#broker!;
  }

  /** The process with the gateway. */
  get gateway(): Program {
    return this.#gateway ?? this.broker;
  }

  agent(cluster: ClusterName): Program {
    return this.#agents.get(cluster)!;
  }

  get gatewayAddress(): string {
    return `127.0.0.1:${this.#gatewayPort}`;
  }

  /** The address for HTTP CONNECT with a client certificate. */
  get frontAddress(): string {
    return this.#frontAddress;
  }

  /** The address for SOCKS 5 with a dialer's token. */
  get socksAddress(): string {
    return this.#socksAddress;
  }

  /** The CA of the gateway. */
  get caFile(): string {
    return this.certificates.server.ca;
  }

  api(cluster: ClusterName): ManagedApi {
    return this.apis.get(cluster)!;
  }

  /** The URL of a cluster, in the path form. */
  urlOf(cluster: string): string {
    return `https://${this.gatewayAddress}/${cluster}`;
  }

  /** A kubeconfig with a token, as a user of the gateway has it. */
  async kubeconfig(cluster: ClusterName, token: string): Promise<string> {
    return writeKubeconfig(join(this.directory, `user-${++this.#count}.kubeconfig`), {
      url: this.urlOf(cluster),
      caFile: this.caFile,
      credentials: { token },
    });
  }

  /** kubectl through the gateway. */
  async kubectl(cluster: ClusterName, token: string, program?: string): Promise<Kubectl> {
    const kubeconfig = await this.kubeconfig(cluster, token);
    return new Kubectl(program ?? this.#programs.kubernetes.kubectl, kubeconfig);
  }

  /** A token of a new ServiceAccount of the cluster that may do everything there. */
  async adminToken(cluster: ClusterName): Promise<string> {
    const { server } = this.api(cluster);
    const name = `admin-${++this.#count}`;
    await server.apply([
      serviceAccount(name),
      clusterRoleBinding(name, 'cluster-admin', {
        kind: 'ServiceAccount',
        name,
        namespace: 'default',
      }),
    ]);
    return server.token('default', name);
  }

  /** Kills the broker, and starts it again at the same address after `downMs`. */
  async killBroker(downMs: number): Promise<void> {
    this.broker.kill('SIGKILL');
    await this.broker.exited;
    await sleep(downMs);
    await this.#startBroker();
  }

  /** Kills the replica that holds the tunnels. Then the agents connect to the other one. */
  async killRelay(): Promise<void> {
    this.#balancer!.setPorts([this.#brokerPort]);
    this.#relay!.kill('SIGKILL');
    await this.#relay!.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing has to be drained.
    for (const program of this.#started) program.kill('SIGKILL');
    await this.#stack.disposeAsync();
  }

  async #start(): Promise<void> {
    this.#exposedServicesFile = join(this.directory, 'exposed-services.yaml');
    await writeFile(this.#exposedServicesFile, JSON.stringify(this.#options.exposedServices ?? []));
    await writeFile(this.#policyFile, JSON.stringify(this.#options.policy ?? {}));
    await writeFile(this.#replicaKeyFile, crypto.randomUUID());
    await this.#startBroker();
    if (this.#options.redisPort !== undefined) await this.#startRelay();
    for (const [cluster, api] of this.apis) await this.#startAgent(cluster, api);
    if (this.#options.hasByteFronts === true) await this.#startSocks();
    if (this.#options.gatewayApart === true) {
      const token = await this.tokens.issue({ kind: 'dialer', name: 'gateway', isGateway: true });
      this.#gateway = this.#run('gateway', [
        ...this.#link,
        ...['--token-file', await this.tokens.file(token)],
        ...this.#gatewayArgs(this.gatewayAddress),
      ]);
      await loggedLine(this.#gateway, 'gateway listens');
    }
  }

  /** Starts `culvert connect`: a local listener whose connections go to a cluster. */
  startConnect(cluster: ClusterName, tokenFile: string): Program {
    const target = new URL(this.api(cluster).server.url).host;
    const listen = ['--listen', '127.0.0.1:0'];
    return this.#run('connect', [
      ...this.#link,
      '--token-file',
      tokenFile,
      ...listen,
      cluster,
      target,
    ]);
  }

  async #startSocks(): Promise<void> {
    const token = await this.tokens.issue({ kind: 'dialer', name: 'bridge' });
    const bridge = this.#run('bridge', [
      ...this.#link,
      ...['--token-file', await this.tokens.file(token)],
      ...['--socks5-listen', '127.0.0.1:0', '--socks5-require-token'],
    ]);
    this.#socksAddress = await frontAddress(bridge);
  }

  get #policyFile(): string {
    return join(this.directory, 'policy.json');
  }

  get #replicaKeyFile(): string {
    return join(this.directory, 'replica.key');
  }

  get #frontArgs(): string[] {
    if (this.#options.hasByteFronts !== true) return [];
    const { server, client } = this.certificates;
    return [
      ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-client-ca', client.ca],
      ...['--konnectivity-tls-cert', server.cert, '--konnectivity-tls-key', server.key],
    ];
  }

  get #link(): string[] {
    return this.#linkTo(this.#brokerPort);
  }

  #linkTo(port: number): string[] {
    return ['--broker-url', `wss://127.0.0.1:${port}`, '--ca-file', this.certificates.server.ca];
  }

  #gatewayArgs(address: string): string[] {
    const { server, client } = this.certificates;
    return [
      ...['--gateway-listen', address, '--gateway-domain', domain],
      ...['--gateway-tls-cert', server.cert, '--gateway-tls-key', server.key],
      ...['--gateway-client-ca', client.ca],
      ...['--exposed-services', this.#exposedServicesFile, '--kubeconfig', this.hub.kubeconfigFile],
      ...(this.#options.gatewayArgs ?? []),
    ];
  }

  async #startBroker(): Promise<void> {
    this.#broker = this.#run('broker', [
      ...this.#brokerArgs(this.#brokerPort),
      ...(this.#options.gatewayApart === true ? [] : this.#gatewayArgs(this.gatewayAddress)),
      ...this.#frontArgs,
    ]);
    await logged(this.#broker, 'broker listens', 'url');
    if (this.#options.gatewayApart !== true) await loggedLine(this.#broker, 'gateway listens');
    if (this.#options.hasByteFronts === true) this.#frontAddress = await frontAddress(this.#broker);
  }

  async #startRelay(): Promise<void> {
    const port = await freePort();
    this.#relay = this.#run('broker', [
      ...this.#brokerArgs(port),
      ...this.#gatewayArgs('127.0.0.1:0'),
    ]);
    await logged(this.#relay, 'broker listens', 'url');
    this.#balancer = this.#stack.use(await startLoadBalancer([port]));
  }

  #brokerArgs(port: number): string[] {
    const { ca, cert, key } = this.certificates.server;
    const own = [
      ...['--listen', `127.0.0.1:${port}`, '--tls-cert', cert, '--tls-key', key],
      ...['--token-public-key', this.tokens.publicKeyFile],
      ...(this.#options.policy === undefined ? [] : ['--policy-file', this.#policyFile]),
    ];
    const { redisPort } = this.#options;
    if (redisPort === undefined) return own;
    return [
      ...own,
      ...['--redis-url', `redis://127.0.0.1:${redisPort}`],
      ...['--replica-key-file', this.#replicaKeyFile],
      ...['--replica-address', `wss://127.0.0.1:${port}`, '--replica-ca', ca],
    ];
  }

  async #startAgent(cluster: ClusterName, { server }: ManagedApi): Promise<void> {
    const token = await this.tokens.issue({ kind: 'agent', cluster });
    const own = join(this.directory, `${cluster}.token`);
    await writeFile(own, await server.token(agentNamespace, agentServiceAccount));
    const agent = this.#run(
      'agent',
      [
        ...this.#linkTo(this.#balancer?.port ?? this.#brokerPort),
        ...['--cluster', cluster, '--token-file', await this.tokens.file(token)],
        ...['--tunnels', '1', '--kube-apiserver', new URL(server.url).host],
        ...['--kube-ca-file', server.caFile, '--kube-token-file', own],
        ...['--allow', '*.svc:*'],
        ...(this.#options.agentArgs ?? []),
      ],
      await this.#hostsFile(cluster),
    );
    this.#agents.set(cluster, agent);
    await loggedLine(agent, 'connected to the broker');
  }

  async #hostsFile(cluster: ClusterName): Promise<string | undefined> {
    const hosts = this.#options.hosts?.[cluster];
    if (hosts === undefined) return undefined;
    const file = join(this.directory, `${cluster}.hosts`);
    const lines = Object.entries(hosts).map(([name, address]) => `${address} ${name}\n`);
    await writeFile(file, ['127.0.0.1 localhost\n', ...lines].join(''));
    return file;
  }

  #run(command: string, args: readonly string[], hostsFile?: string): Program {
    const fromSources = culvert(command, args);
    const own = [fromSources.command, inject('culvertProgram'), command, ...args];
    const prefix =
      hostsFile === undefined
        ? []
        : [
            'unshare',
            '--mount',
            'sh',
            '-c',
            'mount --bind "$0" /etc/hosts && exec "$@"',
            hostsFile,
          ];
    const [first, ...rest] = [...prefix, ...own] as [string, ...string[]];
    const program = startProgram({ ...fromSources, command: first, args: rest });
    this.#started.push(program);
    return this.#stack.use(program);
  }
}

async function frontAddress(program: Program): Promise<string> {
  const { addresses } = await loggedLine(program, 'konnectivity bridge listens');
  return (addresses as string[])[0]!;
}

export function serviceAccount(name: string, namespace = 'default'): object {
  return { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } };
}

export function clusterRoleBinding(name: string, role: string, subject: object): object {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [subject],
  };
}
