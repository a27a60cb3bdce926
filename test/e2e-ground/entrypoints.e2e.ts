import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectGround, type Ground } from '../../testkit/ground/kubernetes/ground.ts';
import { patternSha256 } from '../../testkit/stream/pattern.ts';
import { HubClient } from './support/client.ts';
import { agentArguments } from './support/deployments.ts';
import { entrypointValues, Installation, type EntrypointValues } from './support/installation.ts';
import { hubNamespace, testNamespace } from './support/names.ts';
import { eventually } from './support/state.ts';
import { patternPath } from './support/target.ts';

const bytes = 100 * 1024 * 1024;
const sha256 = patternSha256(bytes);

/** What a hub's administrator makes for the entrypoint Hostname: any way that leads to the agents' port. */
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

/** How an agent is told of it. */
const told: Readonly<Record<EntrypointValues, string>> = {
  PortForward: `--broker-via-hub=${hubNamespace}/https:proxy-entrypoint:agent-server`,
  Hostname: '--broker-url=wss://broker.hub.culvert.test:443',
  LoadBalancerService: '--broker-url=wss://192.168.77.22:443',
  Ingress: '--broker-url=wss://ingress.hub.culvert.test:443',
};

describe.each(Object.keys(told) as EntrypointValues[])('The entrypoint %s', (type) => {
  let ground: Ground;
  let installation: Installation;
  let client: HubClient;

  beforeAll(async () => {
    ground = await connectGround();
    installation = new Installation(ground);
    await installation.apply(entrypointValues[type]);
    if (type === 'Hostname') await ground.hub.apply(ownBalancer);
    for (const cluster of ground.managed) {
      await eventually(ground, async () => (await agentArguments(cluster)).includes(told[type]), {
        what: `agent of ${cluster.name} that is told ${told[type]}`,
        timeoutMs: 60_000,
      });
      await installation.agentRolledOut(cluster);
    }
    await installation.settle();
    client = await HubClient.open(ground.hub);
  }, 300_000);
  afterAll(async () => {
    await client?.[Symbol.asyncDispose]();
    if (type !== 'Hostname') return;
    // There is one address for load balancers.
    await ground.hub.kubectl(['-n', hubNamespace, 'delete', 'service', 'own-balancer']);
  });

  it('The entrypoint lets clients list and watch', async () => {
    const where = [`--namespace=${testNamespace}`];
    for (const cluster of ground.managed) {
      expect(await client.run('pods', cluster, where)).toMatchObject({ pods: ['target'] });
      expect(await client.run('watch', cluster, where)).toMatchObject({ ok: true });
    }
  });

  it('The entrypoint carries 100 MiB unchanged', async () => {
    const args = [`--path=${patternPath(bytes)}`, `--bytes=${bytes}`, '--timeout=3m'];
    for (const cluster of ground.managed) {
      const result = await client.run('download', cluster, args);
      expect(result).toMatchObject({ ok: true, bytes, sha256 });
      const perSecond = bytes / 1024 / 1024 / Number(result['seconds']);
      console.log(`${type}, ${cluster.name}: ${perSecond.toFixed(0)} MiB/s`);
    }
  });
});
