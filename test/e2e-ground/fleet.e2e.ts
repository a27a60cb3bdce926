import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  addManagedCluster,
  connectGround,
  removeCluster,
  type Ground,
  type GroundCluster,
} from '../../testkit/ground/kubernetes/ground.ts';
import { HubClient, type RunningLoad } from './support/client.ts';
import { Installation } from './support/installation.ts';
import { expectAccepted, expectRefused, HandMadeAgents } from './support/hand-made-agents.ts';
import { leftIn, nothing } from './support/left.ts';
import {
  addon,
  agentCertificate,
  hubNamespace,
  installNamespace,
  testNamespace,
} from './support/names.ts';
import { leafOf, secretOf, textIn } from './support/secrets.ts';
import { eventually } from './support/state.ts';
import { endlessPath, startTarget } from './support/target.ts';

const plan = {
  name: 'cluster3',
  index: 4,
  egress: 'direct',
  addonRegistration: 'token',
} as const;
const account = 'cluster-proxy-agent';
const timeoutMs = 90_000;

describe('A third cluster, while the others are busy', () => {
  let ground: Ground;
  let hub: GroundCluster;
  let third: GroundCluster;
  let installation: Installation;
  let client: HubClient;
  let loads: RunningLoad[];

  const isServed = async () => (await client.run('healthz', third)).ok;
  const accept = (hubAcceptsClient: boolean) => {
    const patch = JSON.stringify({ spec: { hubAcceptsClient } });
    return hub.kubectl(['patch', 'managedcluster', plan.name, '--type=merge', `--patch=${patch}`]);
  };
  const named = async (...args: string[]) => {
    const names = await hub.kubectl(['get', ...args, '-o', 'name']);
    return names.split('\n').filter((name) => name.includes(plan.name));
  };

  beforeAll(async () => {
    ground = await connectGround();
    ({ hub } = ground);
    installation = new Installation(ground);
    await installation.apply();
    await installation.settle();
    client = await HubClient.open(hub);
    loads = ground.managed.map((cluster) => client.load(cluster, [`--path=${endlessPath}`]));
  }, 300_000);
  afterAll(async () => {
    await Promise.all((loads ?? []).map((load) => load.stop()));
    await client?.[Symbol.asyncDispose]();
    await hub.kubectl([
      'delete',
      'managedcluster',
      plan.name,
      '--ignore-not-found',
      '--wait=false',
    ]);
    await removeCluster(plan.name);
  });

  it('A third cluster gets its agent automatically', async () => {
    third = await addManagedCluster(plan, () => {});
    await startTarget(third);
    await eventually(ground, () => installation.isAvailable(plan.name), {
      what: `addon Available in ${plan.name}`,
      timeoutMs,
    });
    const result = await client.run('pods', third, [`--namespace=${testNamespace}`]);
    expect(result).toMatchObject({ ok: true, pods: ['target'], nodes: [plan.name] });
  });

  it('A third cluster is registered by a token of its own ServiceAccount on the hub, and by a certificate', async () => {
    const { status } = await hub.get<AddOn>('-n', plan.name, 'managedclusteraddon', addon);
    const user = `system:serviceaccount:${plan.name}:${account}`;
    expect(status).toMatchObject({
      kubeClientDriver: 'token',
      registrations: [{ signerName: 'kubernetes.io/kube-apiserver-client', subject: { user } }, {}],
    });
    const secret = await secretOf(third, installNamespace, 'cluster-proxy-hub-kubeconfig');
    expect(Object.keys(secret.data).sort()).toEqual(['cluster-name', 'kubeconfig', 'token']);
    const { subject } = await leafOf(third, installNamespace, agentCertificate);
    expect(subject).toContain(`CN=system:open-cluster-management:cluster:${plan.name}:`);
  });

  describe('An agent with a token instead of its certificate', () => {
    let agents: HandMadeAgents;
    const tokenFor = async (audience: string) => {
      const args = ['-n', plan.name, 'create', 'token', account, `--audience=${audience}`];
      return { token: (await hub.kubectl(args)).trim() };
    };
    beforeAll(async () => {
      agents = await HandMadeAgents.open(hub);
    });
    afterAll(() => agents?.[Symbol.asyncDispose]());

    it("An agent's token is accepted through TokenReview, with the audience of the API server or of the brokers", async () => {
      const secret = await secretOf(third, installNamespace, 'cluster-proxy-hub-kubeconfig');
      await expectAccepted(agents, 'given', plan.name, { token: textIn(secret, 'token') });
      await expectAccepted(agents, 'audience', plan.name, await tokenFor('culvert-broker'));
    });

    it("An agent's token for another audience is refused", async () => {
      const why = new RegExp(`does not know the token of ${plan.name}/${account}`);
      const token = await tokenFor('somebody-else');
      await expectRefused(agents, 'foreign', plan.name, token, { status: 401, why });
    });

    it("An agent's token is refused under the name of another cluster", async () => {
      const victim = ground.managed[0]!.name;
      const why = new RegExp(`speaks for cluster ${plan.name} only, not for ${victim}`);
      const token = await tokenFor('culvert-broker');
      await expectRefused(agents, 'liar', victim, token, { status: 403, why });
    });
  });

  it('A third cluster is cut off within a minute after the hub stops accepting it', async () => {
    await accept(false);
    const startedAt = Date.now();
    await eventually(ground, async () => !(await isServed()), {
      what: `end of the tunnels of ${plan.name}`,
      timeoutMs: 60_000,
    });
    const tookMs = Date.now() - startedAt;
    console.log(`${plan.name} was cut off after ${tookMs} ms`);
    expect(tookMs).toBeLessThan(60_000);
    await accept(true);
    await eventually(ground, isServed, { what: `${plan.name}, accepted again`, timeoutMs });
  });

  it('A third cluster that is deleted leaves nothing of its addon on the hub', async () => {
    await hub.kubectl(['delete', 'managedcluster', plan.name, '--wait=false']);
    await eventually(
      ground,
      async () => {
        const left = [
          ...(await named('managedclusters')),
          // OCM keeps the namespace itself.
          ...(await leftIn(hub, plan.name, 'hub')).filter((name) => name.includes(addon)),
          ...(await named('-n', hubNamespace, 'rolebindings')),
          ...(await named('clusterrolebindings')),
        ];
        return nothing(left);
      },
      { what: `end of ${plan.name} on the hub`, timeoutMs },
    );
    expect(await isServed()).toBe(false);
    const left = await third.kubectl(['-n', installNamespace, 'get', 'deployments', '-o', 'name']);
    expect(left.trim()).toBe('');
    await removeCluster(plan.name);
  });

  it('The other clusters lose no request while a third cluster comes and goes', async () => {
    for (const load of loads) {
      const { requests, failed, errors, slowestMs } = await load.stop();
      console.log(`${load.cluster}: ${requests} requests, the slowest ${slowestMs} ms`);
      expect({ failed, errors: errors ?? [] }).toEqual({ failed: 0, errors: [] });
      expect(requests).toBeGreaterThan(0);
    }
  });
});

interface AddOn {
  readonly status: object;
}
