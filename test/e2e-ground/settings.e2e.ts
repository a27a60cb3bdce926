import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient } from './support/client.ts';
import { agentDeployment, type Deployment } from './support/deployments.ts';
import {
  conditionOf,
  deploymentConfig,
  Installation,
  type WithConditions,
} from './support/installation.ts';
import { addon, agentCertificate, hubNamespace, installNamespace } from './support/names.ts';
import { leafOf } from './support/secrets.ts';
import { eventually } from './support/state.ts';

const dayMs = 24 * 3600_000;
const generationAnnotation = 'proxy.open-cluster-management.io/configuration-generation';
const timeoutMs = 60_000;

interface ConfigReference {
  readonly resource: string;
  readonly namespace?: string;
  readonly name: string;
  readonly desiredConfig?: { readonly namespace?: string; readonly name: string };
}

describe('Settings', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let cluster: GroundCluster;
  let installation: Installation;
  let client: HubClient;

  const isServed = async () => (await client.run('healthz', cluster)).ok;
  const patchConfiguration = (spec: object) =>
    hub.kubectl([
      ...['patch', 'managedproxyconfiguration', addon, '--type=merge'],
      `--patch=${JSON.stringify({ spec })}`,
    ]);
  const brokers = () => hub.get<Deployment>('-n', hubNamespace, 'deployment', addon);
  const untilAgent = (what: string, matches: (deployment: Deployment) => boolean) =>
    eventually(ground, async () => matches(await agentDeployment(cluster)), { what, timeoutMs });

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    cluster = ground.managed[0]!;
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    client = await HubClient.open(hub);
  }, 300_000);
  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    await installation.configure(cluster.name, undefined);
  });

  describe('The settings of an AddOnDeploymentConfig', () => {
    const nodePlacement = {
      nodeSelector: { 'kubernetes.io/os': 'linux' },
      tolerations: [{ key: 'e2e', operator: 'Exists', effect: 'NoSchedule' }],
    };

    it('The settings of an AddOnDeploymentConfig reach the Deployment of the agent while the addon stays Available', async () => {
      await hub.apply(deploymentConfig(cluster.name, { nodePlacement }, 'placed'));
      await installation.configure(cluster.name, 'placed');
      await untilAgent('agent with the node selector', ({ spec }) => {
        const { nodeSelector, tolerations = [] } = spec.template.spec;
        return nodeSelector?.['kubernetes.io/os'] === 'linux' && tolerations.length === 1;
      });
      await installation.agentRolledOut(cluster);
      expect(await installation.isAvailable(cluster.name)).toBe(true);
      expect(await isServed()).toBe(true);
    });

    it('The AddOnDeploymentConfig is named in status.configReferences', async () => {
      const { status } = await hub.get<{ status: { configReferences: ConfigReference[] } }>(
        ...['-n', cluster.name, 'managedclusteraddon', addon],
      );
      const names = status.configReferences.map(({ resource, name }) => `${resource} ${name}`);
      expect(names).toContain('addondeploymentconfigs placed');
      expect(names).toContain('managedproxyconfigurations cluster-proxy');
    });

    it('The AddOnDeploymentConfig can move the agent to another namespace and back', async () => {
      const namespace = 'e2e-agents';
      const spec = { nodePlacement, agentInstallNamespace: namespace };
      await hub.apply(deploymentConfig(cluster.name, spec, 'placed'));
      const what = `agent in ${namespace}`;
      const exists = async () => (await agentDeployment(cluster, namespace)).status?.readyReplicas;
      await eventually(ground, exists, { what, timeoutMs });
      await eventually(ground, isServed, { what: `client served by an ${what}`, timeoutMs });
      await hub.apply(deploymentConfig(cluster.name, { nodePlacement }, 'placed'));
      await untilAgent(`agent back in ${installNamespace}`, ({ status }) =>
        Boolean(status?.readyReplicas),
      );
      await installation.settle();
      await cluster.kubectl(['delete', 'namespace', namespace, '--timeout=60s']);
      expect(await isServed()).toBe(true);
    });

    it('The settings of an AddOnDeploymentConfig leave the Deployment when its reference is removed', async () => {
      await installation.configure(cluster.name, undefined);
      await untilAgent(
        'agent without the node selector',
        ({ spec }) => spec.template.spec.nodeSelector === undefined,
      );
      await installation.agentRolledOut(cluster);
      expect(await installation.isAvailable(cluster.name)).toBe(true);
    });
  });

  describe('The settings of the ManagedProxyConfiguration', () => {
    it('The ManagedProxyConfiguration marks both Deployments with its generation', async () => {
      await patchConfiguration({ authentication: { signer: { selfSigned: {} } } });
      const { metadata } = await hub.get<WithConditions>('managedproxyconfiguration', addon);
      const generation = String(metadata.generation);
      await eventually(
        ground,
        async () => (await brokers()).metadata.annotations?.[generationAnnotation] === generation,
        { what: `brokers of generation ${generation}`, timeoutMs },
      );
      await untilAgent(
        `agent of generation ${generation}`,
        (deployment) => deployment.metadata.annotations?.[generationAnnotation] === generation,
      );
      for (const each of ground.managed) await installation.agentRolledOut(each);
      const ready = (await agentDeployment(cluster)).status?.readyReplicas;
      expect(ready).toBe(1);
    });

    it('The ManagedProxyConfiguration replaces no pod that a change does not concern', async () => {
      const pods = async () => [
        ...(await podNames(cluster, installNamespace)),
        ...(await podNames(hub, hubNamespace)),
      ];
      const before = await pods();
      const { metadata } = await hub.get<WithConditions>('managedproxyconfiguration', addon);
      const sans = { signer: { selfSigned: { additionalSANs: ['foo'] } } };
      await patchConfiguration({ authentication: sans });
      const generation = String(metadata.generation! + 1);
      await untilAgent(
        `agent of generation ${generation}`,
        (deployment) => deployment.metadata.annotations?.[generationAnnotation] === generation,
      );
      // A replacement of pods would have begun by then.
      await installation.agentRolledOut(cluster);
      await installation.settle();
      expect(await pods()).toEqual(before);
    });

    it('The servers’ certificates are signed again when the ManagedProxyConfiguration adds a name', async () => {
      for (const name of ['proxy-server', 'agent-server', 'proxy-client']) {
        await eventually(
          ground,
          async () => (await leafOf(hub, hubNamespace, name)).subjectAltName?.includes('DNS:foo'),
          { what: `name foo in the certificate of ${name}`, timeoutMs },
        );
      }
      expect(await isServed()).toBe(true);
      // The kubelet updates files of Secrets after a while. Then the port shows the new name.
      const asFoo = () => client.run('healthz', cluster, ['--server-name=foo']);
      await eventually(ground, async () => (await asFoo()).ok, {
        what: 'certificate with the name foo at port 8090',
        timeoutMs: 120_000,
      });
    });

    it('The ManagedProxyConfiguration sets the number and the nodes of brokers', async () => {
      const nodeSelector = { 'kubernetes.io/os': 'linux' };
      await patchConfiguration({ proxyServer: { replicas: 3, nodePlacement: { nodeSelector } } });
      await eventually(
        ground,
        async () => {
          const { spec } = await brokers();
          return spec.replicas === 3 && spec.template.spec.nodeSelector?.['kubernetes.io/os'];
        },
        { what: 'three brokers with a node selector', timeoutMs },
      );
      await installation.settle();
      expect(await isServed()).toBe(true);
      await patchConfiguration({
        proxyServer: { replicas: 2, nodePlacement: { nodeSelector: null } },
      });
      await installation.settle();
    });
  });

  it('The manager creates its objects once, and all conditions of the ManagedProxyConfiguration are True', async () => {
    await hub.kubectl(['get', 'namespace', hubNamespace]);
    const { spec } = await brokers();
    expect(spec.template.spec.containers[0]?.image).toBe('localhost/culvert:ground');
    const object = await hub.get<WithConditions>('managedproxyconfiguration', addon);
    for (const what of ['ProxyServerDeployed', 'ProxyServerSecretSigned']) {
      expect(conditionOf(object, what), `condition ${what}`).toBe('True');
    }
  });

  it('The manager reverts a foreign change of its Service', async () => {
    const args = ['-n', hubNamespace, 'service', 'proxy-entrypoint'] as const;
    const read = () => hub.get<ServiceObject>(...args);
    const before = await read();
    const configuration = await hub.get<WithConditions>('managedproxyconfiguration', addon);
    const ports = before.spec.ports.map((port) =>
      port.port === 8090 ? { ...port, port: 8099 } : port,
    );
    const patch = JSON.stringify({ spec: { ports } });
    await hub.kubectl(['patch', ...args, '--type=merge', `--patch=${patch}`]);
    await eventually(
      ground,
      async () => (await read()).spec.ports.some(({ port }) => port === 8090),
      { what: 'Service proxy-entrypoint with its port 8090', timeoutMs: 20_000 },
    );
    const after = await read();
    expect(after.spec).toEqual(before.spec);
    const now = await hub.get<WithConditions>('managedproxyconfiguration', addon);
    expect(now.metadata.generation).toBe(configuration.metadata.generation);
  });

  it.each(['deployment/cluster-proxy', 'service/proxy-entrypoint', 'secret/proxy-server-ca'])(
    'The manager creates %s again after it was deleted',
    async (object) => {
      const uid = async () => (await hub.get<Metadata>('-n', hubNamespace, object)).metadata.uid;
      const before = await uid();
      await hub.kubectl(['-n', hubNamespace, 'delete', object, '--wait=false']);
      await eventually(ground, async () => (await uid()) !== before, {
        what: `another ${object}`,
        timeoutMs: 30_000,
      });
      await installation.settle();
      await client[Symbol.asyncDispose]();
      client = await HubClient.open(hub);
      await eventually(ground, isServed, { what: 'client that is served again', timeoutMs });
      expect(await installation.isDeployed()).toBe(true);
    },
  );

  it('The manager keeps a certificate for the agent that is valid for half a year', async () => {
    const { status } = await hub.get<{ status: { namespace: string } }>(
      ...['-n', cluster.name, 'managedclusteraddon', addon],
    );
    const { validFromDate, validToDate } = await leafOf(
      cluster,
      status.namespace,
      agentCertificate,
    );
    const now = Date.now();
    expect(validFromDate.getTime()).toBeLessThan(now);
    const lifetimeDays = (validToDate.getTime() - validFromDate.getTime()) / dayMs;
    expect(lifetimeDays).toBeGreaterThan(179);
    expect(lifetimeDays).toBeLessThan(181);
  });
});

interface Metadata {
  readonly metadata: { readonly uid: string };
}

interface Pod {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
}

interface ServiceObject {
  readonly spec: {
    readonly clusterIP: string;
    readonly ports: readonly { readonly port: number }[];
  };
}

/** The names of pods that are not terminating. */
async function podNames(cluster: GroundCluster, namespace: string): Promise<string[]> {
  const { items } = await cluster.get<{ items: Pod[] }>('-n', namespace, 'pods');
  const staying = items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  return staying.map(({ metadata }) => metadata.name).sort();
}
