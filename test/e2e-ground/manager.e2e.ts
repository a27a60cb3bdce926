import type { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  connectGround,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient, type RunningLoad } from './support/client.ts';
import { agentArguments, agentDeployment, isRolledOut } from './support/deployments.ts';
import { entrypointValues, Installation } from './support/installation.ts';
import { MortalManager } from './support/mortal-manager.ts';
import {
  addon,
  agentCertificate,
  hubNamespace,
  installNamespace,
  managerDeployment,
} from './support/names.ts';
import { certificatesIn, leafOf, secretOf } from './support/secrets.ts';
import { eventually } from './support/state.ts';
import { endlessPath } from './support/target.ts';

/** A ManagedCluster without a real cluster, so the hub makes all objects for it. */
const newcomer = 'newcomer';
const signed = {
  'proxy-server': 'proxy-server-ca',
  'proxy-client': 'proxy-server-ca',
  'agent-server': 'proxy-server-ca',
} as const;

/** The kinds of writes that a manager must make here, each at least once. */
const expectedSteps = [
  'create secrets',
  'create poddisruptionbudgets',
  'create roles',
  'create rolebindings',
  'create manifestworks',
  'update manifestworks',
  'update deployments',
  'delete services',
  'update certificatesigningrequests/approval',
  'update certificatesigningrequests/status',
  'update managedproxyconfigurations/status',
  'update clustermanagementaddons/status',
  'update managedclusteraddons/status',
];

describe('The manager, killed at every write', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let installation: Installation;
  let client: HubClient;
  let loads: RunningLoad[];

  const inHub = (...args: string[]) => hub.kubectl(['-n', hubNamespace, ...args]);
  const renewed = () => ground.managed[0]!;
  const serialOf = async (cluster: GroundCluster) =>
    (await leafOf(cluster, installNamespace, agentCertificate)).serialNumber;
  const isTold = async (cluster: GroundCluster) =>
    (await agentArguments(cluster)).some((argument) => argument.startsWith('--broker-via-hub='));

  /** Changes the configuration, and deletes all objects that may be missing for a minute. */
  const makeWork = async () => {
    await inHub('delete', 'secret', ...Object.keys(signed), 'proxy-server-ca', 'agent-ca');
    await inHub('delete', 'poddisruptionbudget', addon);
    for (const { name } of ground.managed) {
      await hub.kubectl(['-n', name, 'delete', 'role,rolebinding', 'cluster-proxy-addon-agent']);
    }
    await renewed().kubectl(['-n', installNamespace, 'delete', 'secret', agentCertificate]);
    const spec = { proxyServer: { entrypoint: { type: 'PortForward' } } };
    const patch = `--patch=${JSON.stringify({ spec })}`;
    await hub.kubectl(['patch', 'managedproxyconfiguration', addon, '--type=merge', patch]);
    await addNewcomer(hub);
  };

  const expectTrusted = async (bundle: string, leaf: X509Certificate) => {
    const trusted = certificatesIn(await secretOf(hub, hubNamespace, bundle), 'ca.crt');
    const issuers = trusted.filter((ca) => leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
    expect({ subject: leaf.subject, issuers: issuers.length }).toMatchObject({ issuers: 1 });
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    installation = new Installation(ground);
    await installation.apply(entrypointValues.LoadBalancerService);
    await installation.settle();
    for (const cluster of ground.managed) await installation.agentRolledOut(cluster);
    await inHub('scale', `deployment/${managerDeployment}`, '--replicas=0');
    const pods = ['pod', '-l', 'component=cluster-proxy-manager'];
    await inHub('wait', '--for=delete', ...pods, '--timeout=60s');
    client = await HubClient.open(hub);
    loads = ground.managed.map((cluster) => client.load(cluster, [`--path=${endlessPath}`]));
  }, 300_000);
  afterAll(async () => {
    await Promise.all((loads ?? []).map((load) => load.stop()));
    await client?.[Symbol.asyncDispose]();
    await inHub('scale', `deployment/${managerDeployment}`, '--replicas=1');
    await removeNewcomer(hub);
    await installation.apply();
    await installation.settle();
  });

  it(
    'The manager that is killed at every write still completes its work',
    { timeout: 400_000 },
    async () => {
      const serialBefore = await serialOf(renewed());
      await makeWork();
      await using manager = await MortalManager.start(hub);
      const hasEnded = async () => {
        if (!manager.isQuiet() || !(await installation.isDeployed())) return false;
        for (const cluster of ground.managed) {
          if (!(await installation.isAvailable(cluster.name)) || !(await isTold(cluster)))
            return false;
          if (!isRolledOut(await agentDeployment(cluster))) return false;
        }
        await hub.get('-n', newcomer, 'manifestwork', 'addon-cluster-proxy-deploy-0');
        return (await serialOf(renewed())) !== serialBefore;
      };
      await eventually(ground, hasEnded, { what: 'end of the work', timeoutMs: 360_000 });

      const { steps } = manager;
      const kinds = new Set(steps.map(({ verb, resource }) => `${verb} ${resource}`));
      console.log(`killed ${steps.length} times, at ${[...kinds].join(', ')}`);
      for (const kind of expectedSteps) {
        const moments = steps.filter(({ verb, resource }) => `${verb} ${resource}` === kind);
        expect({ kind, moments: [...new Set(moments.map(({ when }) => when))] }).toEqual({
          kind,
          moments: ['before', 'after'],
        });
      }
    },
  );

  it('The manager that is killed at every write leaves certificates of the trusted CAs', async () => {
    for (const [name, bundle] of Object.entries(signed)) {
      await expectTrusted(bundle, await leafOf(hub, hubNamespace, name));
    }
    for (const cluster of ground.managed) {
      await expectTrusted('agent-ca', await leafOf(cluster, installNamespace, agentCertificate));
    }
  });

  it('The manager that is killed at every write leaves nothing of the earlier configuration', async () => {
    expect(await inHub('get', 'services', '-o', 'name')).not.toContain('proxy-agent-entrypoint');
  });

  it('The manager that is killed at every write fails no request of a client', async () => {
    for (const load of loads) {
      const { requests, failed, errors } = await load.stop();
      // The change replaced the agents, and transfers of replaced agents may end.
      const requestErrors = (errors ?? []).filter((error) => !error.includes(' transfer: '));
      expect(requestErrors).toEqual([]);
      expect(failed).toBeLessThanOrEqual(1);
      expect(requests).toBeGreaterThan(0);
    }
    await client.readSecrets();
    for (const cluster of ground.managed) {
      expect(await client.run('healthz', cluster)).toMatchObject({ ok: true, body: 'ok' });
    }
  });
});

/** Accepted and Available, as its klusterlet would say, so that the Placement chooses it. */
async function addNewcomer(hub: GroundCluster): Promise<void> {
  await removeNewcomer(hub);
  await hub.apply({
    apiVersion: 'cluster.open-cluster-management.io/v1',
    kind: 'ManagedCluster',
    metadata: { name: newcomer },
    spec: { hubAcceptsClient: true },
  });
  const condition = {
    type: 'ManagedClusterConditionAvailable',
    status: 'True',
    reason: 'ManagedClusterAvailable',
    message: 'said by the test',
    lastTransitionTime: new Date().toISOString(),
  };
  const patch = JSON.stringify({ status: { conditions: [condition] } });
  const status = ['--subresource=status', '--type=merge', `--patch=${patch}`];
  await hub.kubectl(['patch', 'managedcluster', newcomer, ...status]);
}

/** Also deletes the namespace, because its old lease would disturb a new cluster of this name. */
async function removeNewcomer(hub: GroundCluster): Promise<void> {
  for (const kind of ['managedcluster', 'namespace']) {
    await hub.kubectl(['delete', kind, newcomer, '--ignore-not-found', '--timeout=60s']);
  }
}
