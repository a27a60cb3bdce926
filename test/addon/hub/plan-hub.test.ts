import { describe, expect, it } from 'vitest';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { hubKinds } from '../../../src/addon/hub/hub-namespace.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { refOf } from '../../../src/kube/client/kube-ref.ts';
import {
  configurationObject,
  configurationOf,
  deploymentOf,
  entrypointOf,
  hub,
  kindsOf,
  loadBalancer,
  plan,
  podOf,
  rendered,
  secret,
  uid,
} from './hub-fixture.ts';

const balancer = { type: 'LoadBalancerService', port: 443 };
const withoutRedis = { settings: { redis: undefined } };
const serverLabel = { 'proxy.open-cluster-management.io/component-name': 'proxy-server' };
/** The API server's answer to our apply. */
const live = (from: ReturnType<typeof plan>) =>
  from.apply.map((object): KubeObject => ({
    ...object,
    metadata: { ...object.metadata, uid: 'u', resourceVersion: '1' },
  }));

describe('planHub', () => {
  it('planHub renders all objects of a hub, in the order in which they depend on each other', () => {
    expect(kindsOf(plan())).toEqual([
      `Namespace ${hub}`,
      'ServiceAccount cluster-proxy',
      'ServiceAccount cluster-proxy-proxy-server',
      'ClusterRole open-cluster-management:cluster-proxy:proxy-server',
      'ClusterRoleBinding open-cluster-management:cluster-proxy:proxy-server',
      'Service proxy-entrypoint',
      'Role cluster-proxy-addon-agent:portforward',
      'Secret cluster-proxy-replica-key',
      'PodDisruptionBudget cluster-proxy',
      'Deployment cluster-proxy',
    ]);
  });

  it('planHub renders one broker without Redis, and reports it', () => {
    const alone = plan(configurationOf({ replicas: 5 }), withoutRedis);
    expect(kindsOf(alone)).not.toContain('Secret cluster-proxy-replica-key');
    expect(kindsOf(alone)).not.toContain('PodDisruptionBudget cluster-proxy');
    expect(deploymentOf(alone).spec['replicas']).toBe(1);
    expect(alone.replicas).toBe(1);
    expect(alone.ignored.map(({ field }) => field)).toEqual(['spec.proxyServer.replicas']);
    for (const replicas of [0, 1]) {
      const few = plan(configurationOf({ replicas }), withoutRedis);
      expect(few).toMatchObject({ replicas, ignored: [] });
    }
  });

  it.each([
    [{ type: 'PortForward' }, 'Role cluster-proxy-addon-agent:portforward'],
    [balancer, 'Service proxy-agent-entrypoint'],
    [{ type: 'Ingress', ingress: { host: 'hub.example' } }, 'Ingress cluster-proxy'],
  ])('planHub renders for the entrypoint %j only what it needs', (entrypoint, what) => {
    const own = kindsOf(plan(entrypointOf(entrypoint)));
    const common = kindsOf(plan(entrypointOf({ type: 'Hostname', hostname: { value: 'h' } })));
    expect(own.filter((one) => !common.includes(one))).toEqual([what]);
    expect(common.filter((one) => !own.includes(one))).toEqual([]);
  });

  it("planHub owns the objects that it makes, except the namespace and the addon manager's ServiceAccount", () => {
    const owner = {
      apiVersion: 'proxy.open-cluster-management.io/v1alpha1',
      kind: 'ManagedProxyConfiguration',
      name: 'cluster-proxy',
      uid,
      blockOwnerDeletion: true,
    };
    const { apply } = plan(entrypointOf(balancer), { settings: { enableNetworkPolicies: true } });
    const unowned = apply.filter(({ metadata }) => metadata.ownerReferences === undefined);
    for (const { metadata } of apply.filter((object) => !unowned.includes(object))) {
      expect(metadata.ownerReferences).toEqual([owner]);
    }
    expect(unowned.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      `Namespace ${hub}`,
      'ServiceAccount cluster-proxy',
    ]);
  });

  it('planHub renders only kinds that it declares as watched', () => {
    const kinds = new Set(hubKinds(hub).map(({ apiVersion, kind }) => `${apiVersion} ${kind}`));
    for (const configuration of [
      configurationOf(),
      entrypointOf({ type: 'Ingress', ingress: { host: 'h.example' } }),
    ]) {
      const { apply } = plan(configuration, { settings: { enableNetworkPolicies: true } });
      for (const { apiVersion, kind } of apply) expect(kinds).toContain(`${apiVersion} ${kind}`);
    }
  });

  it('planHub returns the same plan for the same input, and for what the API server stored', () => {
    const first = plan();
    const second = plan(configurationOf(), {
      objects: live(first),
      freshReplicaKey: 'another key of thirty-two letters',
    });
    expect(second.apply).toEqual(first.apply);
    expect(second.remove).toEqual([]);
    expect(second.takeOwnership).toEqual([]);
  });

  it.each([
    [
      'a missing value',
      { entrypoint: { type: 'Hostname' } },
      'spec.proxyServer.entrypoint.hostname.value',
    ],
    [
      'a refused argument',
      { additionalArgs: ['--uds-name=/x'] },
      'spec.proxyServer.additionalArgs[0]',
    ],
    ['a text instead of a number', { replicas: 'x' }, 'spec.proxyServer.replicas'],
  ])('planHub changes nothing if the configuration has %s', (_what, proxyServer, field) => {
    const held = plan(configurationOf(proxyServer), { objects: live(plan()) });
    expect(held).toMatchObject({ apply: [], remove: [], takeOwnership: [] });
    expect(held.problems.map((problem) => problem.field)).toEqual([field]);
  });

  it('planHub leaves a configuration that is being deleted to the garbage collector', () => {
    const object = configurationObject();
    const metadata = { ...object.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
    const going = plan(parseManagedProxyConfiguration({ ...object, metadata }), {
      objects: live(plan()),
    });
    expect(going).toMatchObject({ problems: [], apply: [], remove: [], takeOwnership: [] });
  });

  describe('objects that are no longer wanted', () => {
    const names = (from: ReturnType<typeof plan>) =>
      from.remove.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    it.each([
      [
        'the load balancer of another entrypoint',
        plan(entrypointOf(balancer)),
        configurationOf(),
        ['Service proxy-agent-entrypoint'],
      ],
      [
        'a load balancer of another name',
        plan(entrypointOf(balancer)),
        entrypointOf({ ...balancer, loadBalancerService: { name: 'lb' } }),
        ['Service proxy-agent-entrypoint'],
      ],
      [
        'a Service of another name',
        plan(),
        configurationOf({ inClusterServiceName: 'entry' }),
        ['Service proxy-entrypoint'],
      ],
      [
        'the ingress',
        plan(entrypointOf({ type: 'Ingress', ingress: { host: 'h.example' } })),
        configurationOf(),
        ['Ingress cluster-proxy'],
      ],
      [
        'the budget of one broker',
        plan(),
        configurationOf({ replicas: 1 }),
        ['PodDisruptionBudget cluster-proxy'],
      ],
      [
        'the policy after it was disabled',
        plan(configurationOf(), { settings: { enableNetworkPolicies: true } }),
        configurationOf(),
        ['NetworkPolicy cluster-proxy-proxy-server-network-policy'],
      ],
    ])(
      'An object that is no longer wanted is deleted: %s',
      (_what, before, configuration, removed) => {
        expect(names(plan(configuration, { objects: live(before) }))).toEqual(removed);
      },
    );

    it('The objects in the old namespace are deleted, except Secrets', () => {
      const moved = plan(configurationOf({ namespace: 'elsewhere' }), { objects: live(plan()) });
      expect(moved.remove.map(({ kind, metadata }) => `${kind} ${metadata.namespace}`)).toEqual([
        `ServiceAccount ${hub}`,
        `Service ${hub}`,
        `Role ${hub}`,
        `PodDisruptionBudget ${hub}`,
        `Deployment ${hub}`,
      ]);
    });

    it('The objects of other programs are not deleted, whatever their name', () => {
      const others = [
        loadBalancer(),
        ...live(plan(entrypointOf(balancer))).map((object) => ({
          ...object,
          metadata: { ...object.metadata, name: `${object.metadata.name}-2`, ownerReferences: [] },
        })),
        ...live(plan(entrypointOf(balancer))).map((object) => ({
          ...object,
          metadata: { ...object.metadata, name: `${object.metadata.name}-3`, labels: {} },
        })),
      ];
      expect(names(plan(configurationOf(), { objects: others }))).toEqual([]);
    });

    it("The binding of Cluster Proxy that opens the hub's pods to every cluster is deleted", () => {
      const binding = {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'RoleBinding',
        metadata: { name: 'cluster-proxy-addon-agent:portforward', namespace: hub },
      };
      expect(plan(configurationOf(), { objects: [binding] }).remove.map(refOf)).toEqual([
        { apiVersion: binding.apiVersion, kind: 'RoleBinding', ...binding.metadata },
      ]);
      const going = {
        ...binding,
        metadata: { ...binding.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' },
      };
      expect(plan(configurationOf(), { objects: [going] }).remove).toEqual([]);
    });
  });
});

describe('the key of the replicas', () => {
  const keyIn = (from: ReturnType<typeof plan>) =>
    Buffer.from((rendered(from, 'Secret')['data'] as { key: string }).key, 'base64').toString();
  const freshReplicaKey = 'fresh key of thirty-two characters or more';
  const found = 'the key that has been there for long already';

  it.each([
    ['made if there is none', [], freshReplicaKey],
    ['kept if there is one', [secret('cluster-proxy-replica-key', { key: found })], found],
    ['replaced if it is empty', [secret('cluster-proxy-replica-key', {})], freshReplicaKey],
    [
      'replaced if it can be guessed',
      [secret('cluster-proxy-replica-key', { key: 'secret' })],
      freshReplicaKey,
    ],
    ['not taken from a Secret of another name', [secret('other', { key: found })], freshReplicaKey],
  ])('The key of the replicas is %s', (_what, objects, key) => {
    expect(keyIn(plan(configurationOf(), { objects, freshReplicaKey }))).toBe(key);
  });
});

describe('Services', () => {
  const spec = (from: ReturnType<typeof plan>, name: string) =>
    rendered(from, 'Service', name)['spec'];
  it('The Services lead clients to 8090 and agents to 8091', () => {
    expect(spec(plan(), 'proxy-entrypoint')).toEqual({
      type: 'ClusterIP',
      selector: serverLabel,
      ports: [
        { name: 'proxy-server', port: 8090, targetPort: 8090, protocol: 'TCP' },
        { name: 'agent-server', port: 8091, targetPort: 8091, protocol: 'TCP' },
      ],
    });
  });

  it("The Service for agents leads only to the agents' port, from the port that agents are told", () => {
    expect(spec(plan(entrypointOf(balancer)), 'proxy-agent-entrypoint')).toEqual({
      type: 'LoadBalancer',
      selector: serverLabel,
      ports: [{ name: 'agent-server', port: 443, targetPort: 8091, protocol: 'TCP' }],
    });
  });

  it('The Service for agents has the annotations of the load balancer', () => {
    const annotations = [
      { key: 'service.beta.kubernetes.io/azure-load-balancer-internal', value: 'true' },
      { key: 'cloud.example/tags', value: 'team=hub, cost=a b' },
    ];
    const { metadata } = rendered(
      plan(entrypointOf({ ...balancer, loadBalancerService: { annotations } })),
      'Service',
      'proxy-agent-entrypoint',
    );
    expect(metadata.annotations).toEqual({
      'service.beta.kubernetes.io/azure-load-balancer-internal': 'true',
      'cloud.example/tags': 'team=hub, cost=a b',
    });
  });
});

describe('the Ingress', () => {
  it('The Ingress leads its host to the endpoint of agents', () => {
    const ingress = {
      host: 'hub.example',
      className: 'public',
      tlsSecretName: 'hub-tls',
      annotations: [
        { key: 'cert-manager.io/cluster-issuer', value: 'letsencrypt' },
        { key: 'nginx.ingress.kubernetes.io/proxy-read-timeout', value: '60' },
      ],
    };
    const object = rendered(plan(entrypointOf({ type: 'Ingress', ingress })), 'Ingress');
    expect(object.metadata.annotations).toEqual({
      'cert-manager.io/cluster-issuer': 'letsencrypt',
      'nginx.ingress.kubernetes.io/backend-protocol': 'HTTPS',
      'nginx.ingress.kubernetes.io/proxy-read-timeout': '60',
      'nginx.ingress.kubernetes.io/proxy-send-timeout': '3600',
    });
    expect(object['spec']).toEqual({
      ingressClassName: 'public',
      tls: [{ hosts: ['hub.example'], secretName: 'hub-tls' }],
      rules: [
        {
          host: 'hub.example',
          http: {
            paths: [
              {
                path: '/v1/agent',
                pathType: 'Exact',
                backend: { service: { name: 'proxy-entrypoint', port: { name: 'agent-server' } } },
              },
            ],
          },
        },
      ],
    });
  });

  it('The Ingress requests TLS even if no Secret is named', () => {
    const object = rendered(
      plan(entrypointOf({ type: 'Ingress', ingress: { host: 'h.example' } })),
      'Ingress',
    );
    expect(object['spec']).toMatchObject({ tls: [{ hosts: ['h.example'] }] });
    expect(object['spec']).not.toHaveProperty('ingressClassName');
  });
});

describe('the rights of brokers and agents', () => {
  it('The rights of brokers are to review tokens and to see clusters', () => {
    const from = plan();
    expect(rendered(from, 'ClusterRole')['rules']).toEqual([
      { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
      {
        apiGroups: ['cluster.open-cluster-management.io'],
        resources: ['managedclusters'],
        verbs: ['get', 'list', 'watch'],
      },
    ]);
    expect(rendered(from, 'ClusterRoleBinding')['subjects']).toEqual([
      { kind: 'ServiceAccount', name: 'cluster-proxy-proxy-server', namespace: hub },
    ]);
    expect(podOf(from)['spec']).toMatchObject({ serviceAccountName: 'cluster-proxy-proxy-server' });
  });

  it('The rights of agents are one verb on one port of one Service', () => {
    const rules = (service: string) =>
      rendered(plan(configurationOf({ inClusterServiceName: service })), 'Role')['rules'];
    expect(rules('proxy-entrypoint')).toEqual([
      {
        apiGroups: [''],
        resources: ['services/proxy'],
        resourceNames: ['https:proxy-entrypoint:agent-server'],
        verbs: ['get'],
      },
    ]);
    expect(rules('entry')).toMatchObject([{ resourceNames: ['https:entry:agent-server'] }]);
  });
});

describe('the NetworkPolicy of the brokers', () => {
  const policy = (...parameters: Parameters<typeof plan>) => {
    const [configuration, observed] = parameters;
    const settings = { apiServerPorts: [6443], ...observed?.settings, enableNetworkPolicies: true };
    return rendered(plan(configuration, { ...observed, settings }), 'NetworkPolicy');
  };
  const tcp = (...ports: number[]) => ports.map((port) => ({ protocol: 'TCP', port }));
  const basics = [
    {
      ports: [
        { protocol: 'UDP', port: 53 },
        { protocol: 'TCP', port: 53 },
        { protocol: 'UDP', port: 5353 },
        { protocol: 'TCP', port: 5353 },
      ],
    },
    { ports: tcp(6443) },
  ];

  it('The NetworkPolicy of the brokers allows clients, agents and probes in, and what one broker needs out', () => {
    expect(policy(configurationOf(), withoutRedis)['spec']).toEqual({
      podSelector: { matchLabels: serverLabel },
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ ports: tcp(8090, 8091, 8092) }],
      egress: basics,
    });
  });

  it('The NetworkPolicy of the brokers allows every TCP port out if the ports of kube-apiservers are not configured', () => {
    const settings = { ...withoutRedis.settings, apiServerPorts: [] };
    expect(policy(configurationOf(), { settings })['spec']).toMatchObject({
      egress: [basics[0], { ports: [{ protocol: 'TCP' }] }],
    });
  });

  it.each([
    ['redis://r:6390/2', [6390]],
    ['redis://r:6390?family=6', [6390]],
    ['redis://r', [6379, 6380, 26_379]],
    ['redis+sentinel://a:26400,b:26401/main', [26_400, 26_401, 6379, 6380, 26_379]],
  ])(
    'The NetworkPolicy of the brokers allows the ports of %s and the other brokers',
    (url, ports) => {
      expect(policy(configurationOf({ redis: { url } }))['spec']).toMatchObject({
        egress: [
          ...basics,
          { ports: tcp(...ports) },
          { to: [{ podSelector: { matchLabels: serverLabel } }], ports: tcp(8091) },
        ],
      });
    },
  );
});
