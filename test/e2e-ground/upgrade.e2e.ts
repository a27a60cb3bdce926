import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient, type RunningLoad } from './support/client.ts';
import { agentDeployment, isRolledOut } from './support/deployments.ts';
import { Failures } from './support/failures.ts';
import { helm } from './support/helm.ts';
import { chart, entrypointValues, Installation, removeEverything } from './support/installation.ts';
import { hubNamespace, installNamespace, release, testNamespace } from './support/names.ts';
import { secretOf } from './support/secrets.ts';
import { eventually } from './support/state.ts';
import { fateOf, uidsIn, uidsOutside } from './support/uids.ts';
import {
  endAgents,
  loadUpstream,
  removeLeftOver,
  removeOurs,
  stopManager,
  upstreamChart,
  upstreamVersion,
} from './support/upstream.ts';

/** A kubelet needs about a minute to bring new certificates into a running pod. */
const timeoutMs = 120_000;
/** The same for both charts. */
const values = entrypointValues.Hostname;

/** The object that a hub's administrator made for the entrypoint Hostname. */
const ownBalancer = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'own-balancer', namespace: hubNamespace },
  spec: {
    type: 'LoadBalancer',
    selector: { 'proxy.open-cluster-management.io/component-name': 'proxy-server' },
    ports: [{ name: 'agents', port: 443, targetPort: 8091 }],
  },
};

const seconds = ({ durationMs }: Failures) => (durationMs / 1000).toFixed(0);

/** The Secrets that clients copied, and the CAs that sign the others. */
const keptSecrets = ['cluster-proxy-signer', 'proxy-server-ca', 'proxy-client'];

/** Let every cluster into the pods of the hub's namespace. */
const tunnelRights = [
  'Role cluster-proxy-addon-agent:portforward',
  'RoleBinding cluster-proxy-addon-agent:portforward',
];
const impersonation = [
  'ClusterRole cluster-proxy-addon-agent-impersonator',
  `ClusterRoleBinding cluster-proxy-addon-agent-impersonator:${installNamespace}`,
];

// docs/migration.md describes these steps. Change both together.
describe(`An upgrade from Cluster Proxy ${upstreamVersion}`, () => {
  let ground: Ground;
  let hub: GroundCluster;
  let cluster: GroundCluster;
  let installation: Installation;
  let client: HubClient;
  let load: RunningLoad;
  let before: Awaited<ReturnType<typeof look>>;

  const look = async () => ({
    inHubNamespace: await uidsIn(hub, hubNamespace, 'hub'),
    ofCluster: await uidsIn(hub, cluster.name, 'hub'),
    onHub: await uidsOutside(hub, 'hub'),
    agent: await uidsIn(cluster, installNamespace),
    inCluster: await uidsOutside(cluster),
    secrets: await Promise.all(
      keptSecrets.map(async (name) => (await secretOf(hub, hubNamespace, name)).data),
    ),
  });
  const list = (of: GroundCluster) => client.run('pods', of, [`--namespace=${testNamespace}`]);
  /** Waits until that cluster is served by agents with these containers and no others. */
  const servedBy = async (of: GroundCluster, containers: readonly string[]) => {
    const isServed = async () => {
      const deployment = await agentDeployment(of);
      const names = deployment.spec.template.spec.containers.map(({ name }) => name);
      if (!isRolledOut(deployment) || names.join() !== containers.join()) return false;
      return (await list(of)).ok;
    };
    const what = `agent in ${of.name} of the containers ${containers.join(', ')} that serves`;
    await eventually(ground, isServed, { what, timeoutMs });
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    cluster = ground.managed.find(({ plan }) => plan.egress === 'direct')!;
    installation = new Installation(ground);
    await Promise.all([removeEverything(ground), loadUpstream(ground)]);
    const install = ['install', release, await upstreamChart(), '--create-namespace'];
    await helm(ground, install, { proxyServer: values });
    await hub.apply(ownBalancer);
    await eventually(ground, () => installation.isAvailable(cluster.name), {
      what: `addon of ${upstreamVersion} Available in ${cluster.name}`,
      timeoutMs,
    });
    client = await HubClient.open(hub);
    await servedBy(cluster, ['proxy-agent', 'addon-agent']);
    before = await look();
    load = client.load(cluster, ['--every=100ms']);
    const isRunning = async () => load.counts.requests > 0;
    await eventually(ground, isRunning, { what: 'load', timeoutMs });
  }, 240_000);
  afterAll(async () => {
    await load?.stop();
    await client?.[Symbol.asyncDispose]();
    if (installation === undefined) return;
    await installation.remove();
    await Promise.all(ground.managed.map(endAgents));
    await removeEverything(ground);
    await removeLeftOver(hub);
  }, 180_000);

  it('An upgrade from Cluster Proxy moves clients to the new agents with their present certificates', async () => {
    using failures = new Failures(load);
    const asAUser = ['apply', '--server-side', '--force-conflicts'];
    await hub.kubectl([...asAUser, '-f', `${chart}/crds/`]);
    await stopManager(hub);
    await installation.apply(values);
    // Also the cluster that Cluster Proxy cannot serve, because its name begins with a digit.
    for (const each of ground.managed) await servedBy(each, ['proxy-agent']);
    await installation.settle();
    await failures.end(ground);
    console.log(`requests failed for ${seconds(failures)} s`);
    expect(await list(cluster)).toMatchObject({ pods: ['target'], nodes: [cluster.name] });
    expect(failures.durationMs).toBeLessThan(120_000);
  });

  it('An upgrade from Cluster Proxy keeps the Secrets, Services and other objects that culvert still uses', async () => {
    const after = await look();
    expect(after.secrets).toMatchObject(before.secrets);
    expect(fateOf(before.inHubNamespace, after.inHubNamespace)).toMatchObject({
      gone: tunnelRights,
      madeAnew: [],
    });
    const untouched = { gone: [], madeAnew: [] };
    expect(fateOf(before.ofCluster, after.ofCluster)).toMatchObject(untouched);
    expect(fateOf(before.onHub, after.onHub)).toMatchObject(untouched);
  });

  it('An upgrade from Cluster Proxy leaves nothing of the earlier agents', async () => {
    const after = await look();
    expect(fateOf(before.agent, after.agent)).toEqual({
      gone: [`Service ${cluster.name}`],
      // The klusterlet asked for certificates of the agent's new names.
      madeAnew: [
        'Secret cluster-proxy-hub-kubeconfig',
        'Secret cluster-proxy-open-cluster-management.io-proxy-agent-signer-client-cert',
      ],
      added: [],
    });
    expect(fateOf(before.inCluster, after.inCluster)).toEqual({
      gone: impersonation,
      madeAnew: [],
      added: [],
    });
    const deployment = await agentDeployment(cluster);
    expect(deployment).not.toHaveProperty('spec.template.spec.hostAliases');
    expect(deployment).not.toHaveProperty('spec.template.spec.containers.0.command');
  });

  it('An upgrade from Cluster Proxy can be rolled back', async () => {
    using failures = new Failures(load);
    // Both managers see the older configuration for a while.
    await helm(ground, ['rollback', release]);
    await servedBy(cluster, ['proxy-agent', 'addon-agent']);
    expect(await installation.isAvailable(cluster.name)).toBe(true);
    await failures.end(ground);
    console.log(`on the way back requests failed for ${seconds(failures)} s`);
    await removeOurs(hub);
    const after = await look();
    expect(after.secrets).toMatchObject(before.secrets);
    const unchanged = { gone: [], madeAnew: [], added: [] };
    expect(fateOf(before.ofCluster, after.ofCluster)).toEqual(unchanged);
    expect(fateOf(before.onHub, after.onHub)).toEqual(unchanged);
    expect(fateOf(before.inHubNamespace, after.inHubNamespace)).toEqual({
      ...unchanged,
      madeAnew: tunnelRights,
    });
    expect(fateOf(before.inCluster, after.inCluster)).toEqual({
      ...unchanged,
      madeAnew: impersonation,
    });
  });
});
