import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { hubKinds } from '../../../src/addon/hub/hub-namespace.ts';
import { type HubObserved, type HubPlan, planHub } from '../../../src/addon/hub/plan-hub.ts';
import { fieldManager } from '../../../src/addon/compat/take-ownership.ts';
import { noRotations } from '../../../src/addon/rotation/rotation-status.ts';
import { nextStatus } from '../../../src/addon/hub/hub-status.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { refOf } from '../../../src/kube/client/kube-ref.ts';
import { generateTokenKeyPair } from '../../../src/base/tokens/enrolment-token.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import {
  type RunningApiServer,
  startApiServer,
} from '../../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { definitionText } from '../configuration/custom-resource-definition.ts';
import { argsOf, configurationObject, hub, observe, secret } from './hub-fixture.ts';
import { upstreamObjects, upstreamSamples } from './upstream-objects.ts';

const programs = await findPrograms(apiServerPrograms);
const crd = 'customresourcedefinition/managedproxyconfigurations.proxy.open-cluster-management.io';

describeWith({ programs }, 'the hub on a real API server', ({ programs }) => {
  let server: RunningApiServer;
  beforeAll(async () => {
    server = await startApiServer(programs, {});
    await server.apply(definitionText);
    await server.kubectl(['wait', '--for=condition=Established', crd, '--timeout=30s']);
  }, 60_000);
  afterAll(() => server?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    // Without controllers, a namespace is never deleted. Its objects are deleted one by one.
    const kinds = hubKinds(hub).filter(
      ({ kind }) => !/^(Namespace|ServiceAccount|Cluster)/.test(kind),
    );
    const types = kinds.map(({ kind }) => kind.toLowerCase()).join(',');
    await server.kubectl(['delete', types, '--all', '-n', hub, '--ignore-not-found']);
    await server.kubectl(['delete', 'managedproxyconfiguration', '--all']);
  });

  const give = (text: string | object, ...args: string[]) =>
    server.kubectl([...args, '-f', '-'], {
      input: typeof text === 'string' ? text : JSON.stringify(text),
    });
  const apply = (object: KubeObject, ...args: string[]) =>
    give(
      object,
      'apply',
      '--server-side',
      '--force-conflicts',
      `--field-manager=${fieldManager}`,
      ...args,
    );

  /** The objects of the API server, of all kinds that a hub consists of. */
  async function observed(): Promise<KubeObject[]> {
    const types = hubKinds(hub)
      .map(({ kind }) => kind.toLowerCase())
      .join(',');
    const list = await server.get<{ items: KubeObject[] }>(types, '-A', '--show-managed-fields');
    return list.items;
  }

  async function stored(proxyServer: object = {}): Promise<KubeObject> {
    const { metadata, ...rest } = configurationObject({ ...proxyServer });
    await give({ ...rest, metadata: { name: metadata.name } }, 'apply', '--server-side');
    return await server.get<KubeObject>('managedproxyconfiguration', 'cluster-proxy');
  }

  async function planFor(object: KubeObject, more: Partial<HubObserved> = {}): Promise<HubPlan> {
    const configuration = parseManagedProxyConfiguration(object);
    return planHub({ ...observe(configuration), objects: await observed(), ...more });
  }

  /** Carries out a plan as the controller does. */
  async function carryOut(plan: HubPlan): Promise<void> {
    for (const { ref, patch } of plan.takeOwnership) {
      const target = [
        ref.kind.toLowerCase(),
        ref.name,
        ...(ref.namespace ? ['-n', ref.namespace] : []),
      ];
      await server.kubectl(['patch', ...target, '--type=merge', '-p', JSON.stringify(patch)]);
    }
    for (const object of plan.apply) await apply(object);
    for (const { kind, name, namespace } of plan.remove.map(refOf)) {
      await server.kubectl([
        'delete',
        kind.toLowerCase(),
        name,
        ...(namespace ? ['-n', namespace] : []),
      ]);
    }
  }

  const versions = async () =>
    Object.fromEntries(
      (await observed()).map(({ kind, metadata }) => [
        `${kind} ${metadata.name}`,
        metadata.resourceVersion,
      ]),
    );

  it.each([
    [{ type: 'PortForward' }],
    [{ type: 'Hostname', hostname: { value: 'hub.example' }, port: 443 }],
    [
      {
        type: 'LoadBalancerService',
        port: 443,
        loadBalancerService: { annotations: [{ key: 'a.b/c', value: 'd, "e"' }] },
      },
    ],
    [
      {
        type: 'Ingress',
        ingress: { host: 'hub.example', className: 'nginx', tlsSecretName: 'tls' },
      },
    ],
  ])(
    'A real API server accepts every object of the hub for %j, in a dry run without a warning',
    async (entrypoint) => {
      const object = await stored({
        entrypoint,
        replicas: 3,
        nodePlacement: {
          nodeSelector: { a: 'b' },
          tolerations: [{ operator: 'Exists', tolerationSeconds: 5, effect: 'NoExecute' }],
        },
        resources: { requests: { cpu: 1, memory: '1Gi' }, limits: { cpu: '1500m' } },
        redis: { secretRef: { name: 'redis' }, caSecretRef: { name: 'redis' } },
        enrolmentKeysSecretRef: { name: 'enrolment' },
      });
      await server.kubectl(['create', 'namespace', hub]).catch(() => {});
      const { publicKeyPem } = await generateTokenKeyPair();
      await give(secret('enrolment', { 'public-keys.pem': publicKeyPem }), 'create');
      const settings = { ...observe().settings, enableNetworkPolicies: true };
      const { apply: objects, problems } = await planFor(object, { settings });
      expect(problems.map(({ field }) => field)).toEqual([
        'spec.proxyServer.redis.secretRef',
        'spec.proxyServer.redis.caSecretRef',
      ]);
      expect(objects.length).toBeGreaterThan(8);
      expect(JSON.stringify(objects)).toContain('--token-public-key=');
      for (const one of objects) {
        await expect(apply(one, '--dry-run=server', '--validate=strict')).resolves.toContain(
          'serverside-applied',
        );
      }
    },
  );

  it('The hub on a real API server is complete after one pass, and a second pass changes nothing', async () => {
    const object = await stored({ entrypoint: { type: 'LoadBalancerService' } });
    await carryOut(await planFor(object));
    const before = await versions();
    const second = await planFor(object);
    expect(second).toMatchObject({ takeOwnership: [], remove: [] });
    await carryOut(second);
    expect(await versions()).toEqual(before);
    expect(before).toHaveProperty('Deployment cluster-proxy');
  });

  it('The hub on a real API server is repaired after a person edits it or adds a port, and its Service keeps its address', async () => {
    const object = await stored();
    await carryOut(await planFor(object));
    const service = () =>
      server.get<{ spec: { clusterIP: string; ports: { port: number }[] } }>(
        'service',
        'proxy-entrypoint',
        '-n',
        hub,
      );
    const { clusterIP } = (await service()).spec;
    const patch = (value: object) =>
      server.kubectl([
        'patch',
        'service',
        'proxy-entrypoint',
        '-n',
        hub,
        '--type=json',
        '-p',
        JSON.stringify(value),
      ]);
    await patch([
      { op: 'replace', path: '/spec/ports/0/port', value: 9999 },
      { op: 'add', path: '/spec/ports/-', value: { name: 'more', port: 1234, protocol: 'TCP' } },
    ]);
    await carryOut(await planFor(object));
    const repaired = (await service()).spec;
    expect(new Set(repaired.ports.map(({ port }) => port))).toEqual(new Set([8090, 8091]));
    expect(repaired.clusterIP).toBe(clusterIP);
  });

  it('The hub on a real API server is repaired after a person sets a command for the brokers', async () => {
    const object = await stored();
    await carryOut(await planFor(object));
    const patch = [
      { op: 'add', path: '/spec/template/spec/containers/0/command', value: ['/bin/sh'] },
    ];
    const target = ['deployment', 'cluster-proxy', '-n', hub];
    await server.kubectl(['patch', ...target, '--type=json', '-p', JSON.stringify(patch)]);
    await carryOut(await planFor(object));
    const text = await server.kubectl(['get', ...target, '-o', 'yaml']);
    expect(text).toContain('- broker\n');
    expect(text).not.toContain('/bin/sh');
  });

  it("The hub on a real API server loses a person's additions to its pods, once, but keeps a restart of the rollout", async () => {
    const object = await stored();
    await carryOut(await planFor(object));
    const of = ['-n', hub];
    const target = ['deployment/cluster-proxy', ...of];
    await server.kubectl(['set', 'env', ...target, 'CULVERT_LOG_LEVEL=debug']);
    const sidecar = { name: 'sidecar', image: 'x', volumeMounts: [{ name: 'v', mountPath: '/v' }] };
    const spec = { containers: [sidecar], volumes: [{ name: 'v', emptyDir: {} }] };
    const patch = JSON.stringify({ spec: { template: { spec } } });
    await server.kubectl(['patch', ...target, '--type=strategic', '-p', patch]);
    await server.kubectl(['rollout', 'restart', ...target]);
    await carryOut(await planFor(object));
    const text = await server.kubectl(['get', ...target, '-o', 'yaml']);
    expect(text).not.toMatch(/CULVERT_LOG_LEVEL|sidecar|emptyDir/);
    expect(text).toContain('kubectl.kubernetes.io/restartedAt');
    const before = await versions();
    const again = await planFor(object);
    expect(again).toMatchObject({ takeOwnership: [], remove: [] });
    await carryOut(again);
    expect(await versions()).toEqual(before);
  });

  it('The hub on a real API server keeps the key of the replicas', async () => {
    const object = await stored();
    await carryOut(await planFor(object));
    const before = await server.get<KubeObject>('secret', 'cluster-proxy-replica-key', '-n', hub);
    await carryOut(
      await planFor(object, { freshReplicaKey: 'another key of thirty-two characters or more' }),
    );
    const after = await server.get<KubeObject>('secret', 'cluster-proxy-replica-key', '-n', hub);
    expect(after['data']).toEqual(before['data']);
  });

  it("The hub on a real API server replaces Cluster Proxy's command, strategy, ports and rights", async () => {
    const object = await stored({
      entrypoint: { type: 'LoadBalancerService', loadBalancerService: {} },
    });
    await server.kubectl(['create', 'namespace', hub]).catch(() => {});
    for (const one of upstreamObjects(hub, String(object.metadata.uid))) {
      await give(one, 'create', '--field-manager=manager');
    }
    await give(secret('proxy-client', { 'tls.crt': 'kept' }), 'create', '--field-manager=manager');
    await carryOut(await planFor(object));

    const deployment = await server.get<{
      spec: {
        strategy: object;
        template: {
          spec: {
            containers: { command?: string[]; args: string[]; volumeMounts: object[] }[];
            volumes: object[];
          };
        };
      };
    }>('deployment', 'cluster-proxy', '-n', hub);
    const { containers, volumes } = deployment.spec.template.spec;
    const wanted = planHub({
      ...observe(parseManagedProxyConfiguration(object)),
      objects: await observed(),
    });
    expect(containers).toHaveLength(1);
    expect(containers[0]).not.toHaveProperty('command');
    expect(containers[0]?.args).toEqual(argsOf(wanted));
    expect(containers[0]?.volumeMounts).toHaveLength(5);
    expect(volumes).toHaveLength(5);
    expect(deployment.spec.strategy).toMatchObject({ type: 'RollingUpdate' });
    const balancer = await server.get<{ spec: { ports: { port: number }[] } }>(
      'service',
      'proxy-agent-entrypoint',
      '-n',
      hub,
    );
    expect(balancer.spec.ports.map(({ port }) => port)).toEqual([8091]);
    const portForward = 'cluster-proxy-addon-agent:portforward';
    const left = (await observed()).filter(({ metadata }) => metadata.name === portForward);
    expect(left).toEqual([]);
    const client = await server.get<KubeObject>('secret', 'proxy-client', '-n', hub);
    expect(client['data']).toEqual({ 'tls.crt': Buffer.from('kept').toString('base64') });
    expect(await planFor(object)).toMatchObject({ takeOwnership: [], remove: [] });
  });

  it.each(upstreamSamples)(
    'A real API server accepts the sample of Cluster Proxy %s, and the addon reads it',
    async (_name, sample) => {
      await give(sample, 'create', '--validate=warn');
      const configuration = parseManagedProxyConfiguration(
        await server.get<KubeObject>('managedproxyconfiguration', 'cluster-proxy'),
      );
      expect(configuration.problems).toEqual([]);
      expect(configuration.uid).not.toBe('');
    },
  );

  it.each([
    ['port 0', { entrypoint: { type: 'PortForward', port: 0 } }],
    ['an unknown type', { entrypoint: { type: 'Magic' } }],
    ['an entrypoint without a type', { entrypoint: {} }],
    ['no image', { image: null }],
  ])('A real API server refuses a configuration with %s', async (_what, proxyServer) => {
    await expect(stored(proxyServer)).rejects.toThrow(/invalid|Required/i);
  });

  it('A real API server stores the status of the hub without a change', async () => {
    const object = await stored();
    const planned = await planFor(object);
    const expiry = Date.UTC(2027, 0, 1);
    const status = nextStatus(object['status'], {
      generation: object.metadata.generation ?? 0,
      plan: planned,
      deployment: undefined,
      expiries: {
        proxyServer: expiry,
        agentServer: expiry,
        proxyClient: undefined,
        userServer: expiry,
      },
      rotations: noRotations,
      failure: undefined,
      nowMs: Date.UTC(2026, 10, 22),
    });
    const patch = JSON.stringify({ status });
    await server.kubectl([
      'patch',
      'managedproxyconfiguration',
      'cluster-proxy',
      '--subresource=status',
      '--type=merge',
      '-p',
      patch,
    ]);
    const { status: kept } = await server.get<KubeObject>(
      'managedproxyconfiguration',
      'cluster-proxy',
    );
    expect(kept).toEqual(status);
  });
});
