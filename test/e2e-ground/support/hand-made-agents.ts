import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import { writeKubeconfig } from '../../../testkit/ground/kubernetes/kubeconfig.ts';
import { Program } from '../../../testkit/processes/process.ts';
import { culvert, loggedLine } from '../../../testkit/world/world.ts';
import { inNetworkOf } from './in-network.ts';
import { brokerPods, hubNamespace } from './names.ts';
import { secretOf, textIn } from './secrets.ts';

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** The credential of an agent: the certificate of its registration, or a token of the hub. */
export type Shown = KeyPair | { readonly token: string };

/** Agents beside the brokers, without a firewall. So only their credentials can be refused. */
export class HandMadeAgents implements AsyncDisposable {
  readonly #hub: GroundCluster;
  readonly #directory: string;
  /** Where brokers are, without a port. */
  readonly address: string;

  private constructor(hub: GroundCluster, directory: string, address: string) {
    this.#hub = hub;
    this.#directory = directory;
    this.address = address;
  }

  static async open(hub: GroundCluster): Promise<HandMadeAgents> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-agents-'));
    const ca = textIn(await secretOf(hub, hubNamespace, 'proxy-server-ca'), 'ca.crt');
    await writeFile(join(directory, 'ca.crt'), ca);
    const { spec } = await hub.get<{ spec: { clusterIP: string } }>(
      ...['-n', hubNamespace, 'service', 'proxy-entrypoint'],
    );
    return new HandMadeAgents(hub, directory, spec.clusterIP);
  }

  /** Starts one that says it is of that cluster. @param name of its files, another for each */
  async start(name: string, cluster: string, shown: Shown): Promise<Program> {
    const {
      command,
      args = [],
      env,
    } = culvert('agent', [
      ...['--cluster', cluster, '--tunnels', '1', '--kube-apiserver', '127.0.0.1:1'],
      ...['--broker-url', `wss://${this.address}:8091`, '--server-name', 'localhost'],
      ...['--ca-file', join(this.#directory, 'ca.crt'), ...(await this.#show(name, shown))],
    ]);
    const entered = inNetworkOf(this.#hub, command, args);
    return new Program({ ...entered, name: `agent: ${name}`, env: { ...entered.env, ...env } });
  }

  /** Refused connections that the brokers counted with that status; not those on their way out, to which no Service leads. */
  async counted(status: number): Promise<number> {
    const pods = await this.#hub.get<{ items: readonly Pod[] }>(
      ...['-n', hubNamespace, 'pods', ...brokerPods],
    );
    const brokers = pods.items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    let sum = 0;
    for (const { status: pod } of brokers) {
      const url = `http://${pod.podIP}:8092/metrics`;
      const metrics = await this.#hub.run('curl', ['--silent', '--fail', '--max-time', '5', url]);
      const line = `culvert_broker_rejected_connections_total{status="${status}"} `;
      const found = metrics.split('\n').find((text) => text.startsWith(line));
      sum += Number(found?.slice(line.length) ?? 0);
    }
    return sum;
  }

  /** Of all brokers. */
  log(): Promise<string> {
    const logs = ['-n', hubNamespace, 'logs', ...brokerPods, '--tail=-1', '--prefix=false'];
    return this.#hub.kubectl(logs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #show(name: string, shown: Shown): Promise<readonly string[]> {
    const folder = join(this.#directory, name);
    await mkdir(folder);
    if ('token' in shown) {
      // Only the broker must see the token, because no API server has that address.
      const server = { url: 'https://127.0.0.1:1', caFile: join(this.#directory, 'ca.crt') };
      const kubeconfig = join(folder, 'kubeconfig');
      await writeKubeconfig(kubeconfig, { ...server, credentials: shown });
      return ['--hub-kubeconfig', kubeconfig];
    }
    await writeFile(join(folder, 'tls.crt'), shown.cert);
    await writeFile(join(folder, 'tls.key'), shown.key);
    return ['--certificate-dir', folder];
  }
}

interface Pod {
  readonly metadata: { readonly deletionTimestamp?: string };
  readonly status: { readonly podIP: string };
}

/** Expects that an agent with this credential is accepted. */
export async function expectAccepted(
  agents: HandMadeAgents,
  name: string,
  cluster: string,
  shown: Shown,
): Promise<void> {
  await using agent = await agents.start(name, cluster, shown);
  const { broker } = await loggedLine(agent, 'connected to the broker');
  expect(broker).toBe(`${agents.address}:8091`);
}

/** Expects that an agent with this credential gets the status, which brokers log and count. */
export async function expectRefused(
  agents: HandMadeAgents,
  name: string,
  cluster: string,
  shown: Shown,
  { status, why }: { readonly status: 401 | 403; readonly why: RegExp },
): Promise<void> {
  const before = await agents.counted(status);
  await using agent = await agents.start(name, cluster, shown);
  const line = await loggedLine(agent, 'no connection to the broker');
  expect(line).toMatchObject({ code: 'rejected', status });
  expect(line['error']).toMatch(why);
  expect(await agents.counted(status)).toBeGreaterThan(before);
  expect(await agents.log()).toMatch(why);
}
