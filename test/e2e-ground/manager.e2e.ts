import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectGround, type Ground, type GroundCluster } from '../ground/kubernetes/ground.ts';
import { HubClient, type RunningLoad } from './support/client.ts';
import { agentArguments } from './support/deployments.ts';
import { entrypointValues, Installation } from './support/installation.ts';
import { hubNamespace } from './support/names.ts';
import { eventually } from './support/state.ts';
import { endlessPath } from './support/target.ts';

const select = ['-l', 'component=cluster-proxy-manager'];
/** How long a manager may work before it is killed, each time. A reconcile of everything takes about a second. */
const lifetimesMs = [0, 50, 150, 300, 600, 1200];

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status: { readonly phase: string };
  }[];
}

describe('the manager, killed again and again', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let installation: Installation;
  let client: HubClient;
  let loads: RunningLoad[];

  /** The one manager that works, as soon as it does. */
  const workingManager = () =>
    eventually(
      ground,
      async () => {
        const { items } = await hub.get<Pods>('-n', hubNamespace, 'pods', ...select);
        const [pod] = items.filter(
          ({ metadata, status }) =>
            metadata.deletionTimestamp === undefined && status.phase === 'Running',
        );
        if (pod === undefined) return undefined;
        const log = await hub.kubectl(['-n', hubNamespace, 'logs', pod.metadata.name]);
        return log.includes('controller works') ? pod.metadata.name : undefined;
      },
      { what: 'manager that works', timeoutMs: 60_000, pollMs: 50 },
    );
  const kill = async (pod: string) => {
    await hub.kubectl(['-n', hubNamespace, 'delete', 'pod', pod, '--grace-period=0', '--force']);
    // Killed, it cannot give the lease back; the next one need not wait for its end here.
    await hub.kubectl(['-n', hubNamespace, 'delete', 'leases', '--all']);
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    installation = new Installation(ground);
    await installation.apply(entrypointValues.LoadBalancerService);
    await installation.settle();
    for (const cluster of ground.managed) await installation.agentRolledOut(cluster);
    client = await HubClient.open(hub);
    loads = ground.managed.map((cluster) => client.load(cluster, [`--path=${endlessPath}`]));
  }, 300_000);
  afterAll(async () => {
    await Promise.all((loads ?? []).map((load) => load.stop()));
    await client?.[Symbol.asyncDispose]();
  });

  it('brings a change about nevertheless', async () => {
    await installation.apply();
    for (const lifetimeMs of lifetimesMs) {
      const pod = await workingManager();
      // Not a wait for something: how long it lives is what differs between the rounds.
      await sleep(lifetimeMs);
      await kill(pod);
      // Work for the next one.
      await hub.kubectl(['-n', hubNamespace, 'delete', 'secret', 'agent-ca', 'proxy-client']);
    }
    await workingManager();
    for (const cluster of ground.managed) {
      const isTold = async () =>
        (await agentArguments(cluster)).some((argument) =>
          argument.startsWith('--broker-via-hub='),
        );
      await eventually(ground, isTold, { what: `change in ${cluster.name}`, timeoutMs: 60_000 });
      await installation.agentRolledOut(cluster);
    }
    await installation.settle();
    const services = await hub.kubectl(['-n', hubNamespace, 'get', 'services', '-o', 'name']);
    expect(services).not.toContain('proxy-agent-entrypoint');
  });

  it('leaves clients alone', async () => {
    for (const load of loads) {
      const { requests, failed, errors } = await load.stop();
      // The change replaced the agents: transfers of those that went are not promised.
      const requestErrors = (errors ?? []).filter((error) => !error.includes(' transfer: '));
      expect(requestErrors).toEqual([]);
      expect(failed).toBeLessThanOrEqual(1);
      expect(requests).toBeGreaterThan(0);
    }
  });
});
