import { fileURLToPath } from 'node:url';
import type { Ground, GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import { egressProxyUrl, entrypoints } from '../../../testkit/ground/kubernetes/topology.ts';
import { agentDeployment, isRolledOut } from './deployments.ts';
import { helm, type Values } from './helm.ts';
import { addon, hubNamespace, installNamespace, release } from './names.ts';
import { eventually } from './state.ts';

export const chart = fileURLToPath(new URL('../../../charts/cluster-proxy', import.meta.url));
const rolloutTimeoutMs = 120_000;

export type EntrypointValues = 'PortForward' | 'Hostname' | 'LoadBalancerService' | 'Ingress';

/** What a user writes to get that entrypoint; the port is what firewalls let out. */
export const entrypointValues: Readonly<Record<EntrypointValues, Values>> = {
  PortForward: {},
  Hostname: { entrypointAddress: entrypoints.loadBalancer.name, port: 443 },
  LoadBalancerService: { entrypointLoadBalancer: true, port: 443 },
  Ingress: { entrypointIngress: { host: entrypoints.ingress.name, tlsSecretName: 'agent-server' } },
};

/** As the README says it. */
export const ourImage: Values = { registry: 'localhost', image: 'culvert', tag: 'ground' };

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
}

export interface WithConditions {
  readonly metadata: { readonly generation?: number };
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** The release on the hub, as a user has it. */
export class Installation {
  readonly ground: Ground;

  constructor(ground: Ground) {
    this.ground = ground;
  }

  /** Installs or upgrades with these values. Returns helm's output. */
  async apply(proxyServer: Values = {}, more: Values = {}): Promise<string> {
    const { ground } = this;
    await forgetRequests(ground.hub);
    const args = ['upgrade', '--install', release, chart, '--create-namespace'];
    const notes = await helm(ground, args, { ...ourImage, ...more, proxyServer });
    for (const { plan, name } of ground.managed) {
      if (plan.egress !== 'proxy') continue;
      await ground.hub.apply(deploymentConfig(name, { proxyConfig: egressProxyConfig }));
      await this.configure(name, 'e2e');
    }
    return notes;
  }

  /** Makes the addon of a cluster refer to that AddOnDeploymentConfig of its namespace, or to none. */
  async configure(cluster: string, config: string | undefined): Promise<void> {
    const reference = {
      group: 'addon.open-cluster-management.io',
      resource: 'addondeploymentconfigs',
      namespace: cluster,
      name: config,
    };
    const patch = JSON.stringify({ spec: { configs: config === undefined ? [] : [reference] } });
    const args = ['patch', 'managedclusteraddon', addon, '--type=merge', `--patch=${patch}`];
    // OCM makes it when the Placement has decided.
    await eventually(
      this.ground,
      async () => (await this.ground.hub.kubectl(['-n', cluster, ...args])) !== '',
      { what: `ManagedClusterAddOn of ${cluster}`, timeoutMs: 60_000 },
    );
  }

  async remove(): Promise<void> {
    await helm(this.ground, ['uninstall', release, '--wait', '--ignore-not-found']);
  }

  /** Waits until the addon is Available in every cluster and nothing rolls any more. */
  async settle(timeoutMs = rolloutTimeoutMs): Promise<void> {
    const { managed } = this.ground;
    await eventually(this.ground, () => this.isDeployed(), { what: 'deployed brokers', timeoutMs });
    for (const cluster of managed) {
      await eventually(this.ground, () => this.isAvailable(cluster.name), {
        what: `addon Available in ${cluster.name}`,
        timeoutMs,
      });
    }
  }

  /** Waits until the agents of that cluster are up to date and no old agent is terminating. */
  async agentRolledOut(cluster: GroundCluster, timeoutMs = rolloutTimeoutMs): Promise<void> {
    const what = `rolled out agents of ${cluster.name}`;
    const attempt = async () => isRolledOut(await agentDeployment(cluster));
    await eventually(this.ground, attempt, { what, timeoutMs });
  }

  /** Whether the brokers of the newest configuration serve. */
  async isDeployed(): Promise<boolean> {
    const args = ['managedproxyconfiguration', addon] as const;
    const object = await this.ground.hub.get<
      WithConditions & { status?: { lastObservedGeneration?: number } }
    >(...args);
    const isObserved = object.status?.lastObservedGeneration === object.metadata.generation;
    return isObserved && conditionOf(object, 'ProxyServerDeployed') === 'True';
  }

  async isAvailable(cluster: string): Promise<boolean> {
    const args = ['-n', cluster, 'managedclusteraddon', addon] as const;
    return conditionOf(await this.ground.hub.get<WithConditions>(...args), 'Available') === 'True';
  }
}

/** A klusterlet asks for no more certificates where it sees ten requests of its own; Kubernetes keeps them for an hour. */
async function forgetRequests(hub: GroundCluster): Promise<void> {
  await hub.kubectl(['delete', 'csr', '-l', `open-cluster-management.io/addon-name=${addon}`]);
}

/** Takes away what a release and its addon leave on purpose, and what a run that was interrupted left. */
export async function removeEverything(ground: Ground): Promise<void> {
  const { hub, managed } = ground;
  await new Installation(ground).remove();
  await eventually(
    ground,
    async () => (await hub.kubectl(['get', 'managedclusteraddons', '-A', '-o', 'name'])) === '',
    { what: 'end of all addons', timeoutMs: 90_000 },
  );
  const gone = ['--ignore-not-found', '--timeout=60s'];
  await forgetRequests(hub);
  const crd = 'managedproxyconfigurations.proxy.open-cluster-management.io';
  await hub.kubectl(['delete', 'namespace', hubNamespace, ...gone]);
  // Helm keeps it, and does not renew it.
  await hub.kubectl(['delete', 'crd', crd, ...gone]);
  for (const cluster of managed) {
    const namespaces = [installNamespace, 'open-cluster-management-agent-addon'];
    await cluster.kubectl(['delete', 'namespace', ...namespaces, ...gone]);
    const configs = ['delete', 'addondeploymentconfigs', '--all', '--ignore-not-found'];
    await hub.kubectl(['-n', cluster.name, ...configs]);
  }
}

export const egressProxyConfig = {
  httpsProxy: egressProxyUrl,
  httpProxy: egressProxyUrl,
  noProxy: '10.0.0.0/8',
};

export function deploymentConfig(namespace: string, spec: object, name = 'e2e'): object {
  return {
    apiVersion: 'addon.open-cluster-management.io/v1alpha1',
    kind: 'AddOnDeploymentConfig',
    metadata: { name, namespace },
    // Its own default is another namespace.
    spec: { agentInstallNamespace: installNamespace, ...spec },
  };
}

export function conditionOf({ status }: WithConditions, type: string): string | undefined {
  return status?.conditions?.find((condition) => condition.type === type)?.status;
}
