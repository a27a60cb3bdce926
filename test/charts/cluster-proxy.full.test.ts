import { expect, it, describe } from 'vitest';
import { readAddonOptions } from '../../src/addon/options.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { chartDirectory, findHelm, objectOf, type Values } from '../../testkit/kube/helm.ts';
import { valueNames, valuesOf } from './leaves.ts';

const helm = await findHelm();

const manager = ['Deployment', 'cluster-proxy-addon-manager'] as const;
const redis = ['Deployment', 'cluster-proxy-redis'] as const;
const configuration = ['ManagedProxyConfiguration', 'cluster-proxy'] as const;
const addon = ['ClusterManagementAddOn', 'cluster-proxy'] as const;

const pod = (spec: object) => ({ spec: { template: { spec } } });
const container = (spec: object) => pod({ containers: [spec] });
const arg = (text: string) => container({ args: expect.arrayContaining([text]) });
const server = (proxyServer: object) => ({ spec: { proxyServer } });
const agent = (proxyAgent: object) => ({ spec: { proxyAgent } });

type Row = readonly [
  name: string,
  value: unknown,
  object: readonly [kind: string, name: string],
  expected: object,
];

const limits = { limits: { memory: '1Gi' } };
const toleration = { key: 'infra', operator: 'Exists' };

/** The effects of values on objects. Each value of values.yaml has a row here or in `notes`. */
const rows: readonly Row[] = [
  [
    'registry',
    'reg.example:5000/ocm',
    manager,
    container({ image: 'reg.example:5000/ocm/cluster-proxy:v0.12.0' }),
  ],
  [
    'image',
    'culvert',
    manager,
    container({ image: 'quay.io/open-cluster-management/culvert:v0.12.0' }),
  ],
  [
    'tag',
    'main',
    manager,
    container({ image: 'quay.io/open-cluster-management/cluster-proxy:main' }),
  ],
  [
    'tag',
    'main',
    configuration,
    server({ image: 'quay.io/open-cluster-management/cluster-proxy:main' }),
  ],
  [
    'tag',
    'main',
    configuration,
    agent({ image: 'quay.io/open-cluster-management/cluster-proxy:main' }),
  ],
  ['proxyServerImage', 'r.example/s', configuration, server({ image: 'r.example/s:v0.12.0' })],
  ['proxyAgentImage', 'r.example/a', configuration, agent({ image: 'r.example/a:v0.12.0' })],
  ['registry', 'r.example', configuration, server({ image: 'r.example/cluster-proxy:v0.12.0' })],
  ['registry', 'r.example', configuration, agent({ image: 'r.example/cluster-proxy:v0.12.0' })],
  ['imagePullSecrets', ['s'], manager, pod({ imagePullSecrets: [{ name: 's' }] })],
  ['imagePullSecrets', ['s', 't'], manager, arg('--image-pull-secrets=t')],
  ['imagePullSecrets', ['s'], redis, pod({ imagePullSecrets: [{ name: 's' }] })],
  ['replicas', 3, manager, { spec: { replicas: 3 } }],
  ['replicas', 3, configuration, server({ replicas: 3 })],
  ['replicas', 3, configuration, agent({ replicas: 3 })],
  ['proxyServer.replicas', 5, configuration, server({ replicas: 5 })],
  [
    'proxyServer.entrypointAddress',
    'hub.example',
    configuration,
    server({ entrypoint: { type: 'Hostname', hostname: { value: 'hub.example' }, port: 8091 } }),
  ],
  [
    'proxyServer.entrypointIngress',
    {
      host: 'hub.example',
      className: 'nginx',
      tlsSecretName: 't',
      annotations: { 'a/b': '1' },
      port: 8443,
    },
    configuration,
    server({
      entrypoint: {
        type: 'Ingress',
        port: 8091,
        ingress: {
          host: 'hub.example',
          className: 'nginx',
          tlsSecretName: 't',
          annotations: [{ key: 'a/b', value: '1' }],
          port: 8443,
        },
      },
    }),
  ],
  [
    'proxyServer.enrolment',
    { secretName: 's', key: 'k' },
    configuration,
    server({ enrolmentKeysSecretRef: { name: 's', key: 'k' } }),
  ],
  [
    'proxyServer.policy',
    { configMapName: 'rules', key: 'k' },
    configuration,
    server({ policyConfigMapRef: { name: 'rules', key: 'k' } }),
  ],
  [
    'proxyServer.hubAuthorization',
    true,
    configuration,
    server({ hubAuthorization: 'SubjectAccessReview' }),
  ],
  [
    'proxyServer.entrypointLoadBalancer',
    true,
    configuration,
    server({ entrypoint: { type: 'LoadBalancerService', loadBalancerService: {}, port: 8091 } }),
  ],
  [
    'proxyServer',
    { entrypointLoadBalancer: true, entrypointLoadBalancerAnnotations: { 'x/y': 'true' } },
    configuration,
    server({
      entrypoint: { loadBalancerService: { annotations: [{ key: 'x/y', value: 'true' }] } },
    }),
  ],
  [
    'proxyServer.port',
    443,
    configuration,
    server({ entrypoint: { type: 'PortForward', port: 443 } }),
  ],
  [
    'proxyServer.additionalSANs',
    ['foo', '10.0.0.1'],
    configuration,
    {
      spec: {
        authentication: {
          signer: { type: 'SelfSigned', selfSigned: { additionalSANs: ['foo', '10.0.0.1'] } },
          dump: { secrets: {} },
        },
      },
    },
  ],
  ['proxyServer.imagePullPolicy', 'Always', manager, arg('--image-pull-policy=Always')],
  ['proxyServer.resources', limits, configuration, server({ resources: limits })],
  [
    'proxyServer.nodeSelector',
    { a: 'b' },
    configuration,
    server({ nodePlacement: { nodeSelector: { a: 'b' } } }),
  ],
  [
    'proxyServer.tolerations',
    [toleration],
    configuration,
    server({ nodePlacement: { tolerations: [toleration] } }),
  ],
  ['redis.enabled', false, configuration, server({ replicas: 1 })],
  ['redis.image', 'valkey/valkey:8', redis, container({ image: 'valkey/valkey:8' })],
  ['redis.imagePullPolicy', 'Never', redis, container({ imagePullPolicy: 'Never' })],
  ['redis.runAsUser', 999, redis, pod({ securityContext: { runAsUser: 999, runAsGroup: 999 } })],
  [
    'redis.password',
    'abcdefgh12345678',
    ['Secret', 'cluster-proxy-redis'],
    {
      stringData: {
        url: 'redis://:abcdefgh12345678@cluster-proxy-redis.hub-ns.svc:6379',
        'redis.conf': expect.stringMatching(/^requirepass abcdefgh12345678$/m),
      },
    },
  ],
  ['redis.resources', limits, redis, container({ resources: limits })],
  [
    'redis.external.url',
    'rediss://r.example:6380',
    manager,
    arg('--redis-url=rediss://r.example:6380'),
  ],
  ['redis.external.secretName', 's', manager, arg('--redis-secret-name=s')],
  [
    'redis.external',
    { secretName: 's', caSecretName: 'c' },
    manager,
    arg('--redis-ca-secret-name=c'),
  ],
  [
    'installByPlacement',
    { placementName: 'p' },
    addon,
    {
      spec: {
        installStrategy: { type: 'Placements', placements: [{ name: 'p', namespace: 'hub-ns' }] },
      },
    },
  ],
  [
    'installByPlacement',
    { placementName: 'p', placementNamespace: 'n' },
    addon,
    { spec: { installStrategy: { placements: [{ name: 'p', namespace: 'n' }] } } },
  ],
  ['spokeAddonNamespace', 'spoke', manager, arg('--agent-install-namespace=spoke')],
  ['proxyAgent.replicas', 4, configuration, agent({ replicas: 4 })],
  ['proxyAgent.imagePullSecrets', ['s'], configuration, agent({ imagePullSecrets: ['s'] })],
  ['proxyAgent.allow', ['db.x.svc:5432'], configuration, agent({ allow: ['db.x.svc:5432'] })],
  ['enableKubeApiProxy', false, manager, arg('--enable-kube-api-proxy=false')],
  ['resources', limits, manager, container({ resources: limits })],
  ['nodeSelector', { a: 'b' }, manager, pod({ nodeSelector: { a: 'b' } })],
  ['nodeSelector', { a: 'b' }, redis, pod({ nodeSelector: { a: 'b' } })],
  ['tolerations', [toleration], manager, pod({ tolerations: [toleration] })],
  ['tolerations', [toleration], redis, pod({ tolerations: [toleration] })],
  ['logLevel', 'debug', manager, arg('--log-level=debug')],
  ['networkPolicies.enabled', true, manager, arg('--enable-network-policies=true')],
  [
    'networkPolicies.enabled',
    true,
    ['NetworkPolicy', 'cluster-proxy-addon-manager-network-policy'],
    { spec: { policyTypes: ['Ingress', 'Egress'], ingress: [] } },
  ],
  [
    'networkPolicies.enabled',
    true,
    ['NetworkPolicy', 'cluster-proxy-redis-network-policy'],
    { spec: { egress: [] } },
  ],
  ['networkPolicies.apiServerPorts', [8443, 6443], manager, arg('--api-server-ports=8443')],
  ['featureGates.clusterProfile', true, manager, arg('--feature-gates=ClusterProfile=true')],
  [
    'featureGates.clusterProfileAccessProvider',
    true,
    manager,
    arg('--feature-gates=ClusterProfile=true'),
  ],
  ['enableServiceProxy', true, manager, arg('--enable-service-proxy=true')],
  [
    'enableServiceProxy',
    true,
    ['Service', 'cluster-proxy-addon-user'],
    {
      spec: {
        selector: { 'proxy.open-cluster-management.io/component-name': 'proxy-server' },
        ports: [{ name: 'https', port: 9092, targetPort: 9092, protocol: 'TCP' }],
      },
    },
  ],
  ['enableImpersonation', false, manager, arg('--enable-impersonation=false')],
  ['exposedServicesConfigMapName', 'x', manager, arg('--exposed-services-configmap=x')],
  [
    'userServer',
    { enabled: true, signer: 'Provided' },
    configuration,
    { spec: { authentication: { signer: { type: 'Provided' } } } },
  ],
  [
    'userServer',
    { enabled: true, signer: 'CertManager', issuerRef: { name: 'x', kind: 'ClusterIssuer' } },
    ['Certificate', 'cluster-proxy-user-serving-cert'],
    {
      spec: {
        secretName: 'cluster-proxy-user-serving-cert',
        issuerRef: { name: 'x', kind: 'ClusterIssuer' },
      },
    },
  ],
  [
    'userServer',
    { enabled: true, additionalSANs: ['x'] },
    configuration,
    { spec: { userServer: { additionalSANs: ['x'] } } },
  ],
  [
    'exposedServices',
    [{ namespace: 'a', service: 'b', port: 8080 }],
    ['ConfigMap', 'cluster-proxy-exposed-services'],
    { data: { services: '- namespace: a\n  port: 8080\n  service: b' } },
  ],
];

/** Values that count only together with their neighbours; the rows give them in one object. */
const covered = (name: string) =>
  rows.some(
    ([row, value]) =>
      name === row ||
      (name.startsWith(`${row}.`) && Object.hasOwn(value as object, name.slice(row.length + 1))) ||
      row.startsWith(`${name}.`) ||
      (name.startsWith(`${row}.`) && (name.includes('.requests') || name.includes('.limits'))),
  );

describeWith({ helm }, 'charts/cluster-proxy', ({ helm }) => {
  const defaults = helm.template('cluster-proxy');

  it('The cluster-proxy chart passes lint', async () => {
    expect(
      await helm.run([
        'lint',
        '--strict',
        '--kube-version=1.34.4',
        chartDirectory('cluster-proxy'),
      ]),
    ).toContain('0 chart(s) failed');
  });

  it('The cluster-proxy chart renders the golden file', async () => {
    const text = await helm.templateText('cluster-proxy', {
      redis: { password: 'golden0123456789' },
    });
    await expect(text).toMatchFileSnapshot('golden/cluster-proxy.txt');
  });

  describe('A value of the cluster-proxy chart', () => {
    it.each(rows)(
      "The cluster-proxy chart's value %s = %j shows in %j",
      async (name, value, [kind, objectName], expected) => {
        const object = await only(kind, objectName, valuesOf(name, value));
        expect(object).toMatchObject(expected);
        const same = (await defaults).find(
          (other) => other.kind === kind && other.metadata.name === objectName,
        );
        // Otherwise the row could not fail.
        expect(same ?? {}).not.toMatchObject(expected);
      },
    );

    it('Every value of the cluster-proxy chart has a test', () => {
      const names = valueNames('cluster-proxy');
      const others = [
        'exposedServicesConfigMapName',
        'installByPlacement.placementName',
        'installByPlacement.clusterSetBinding',
      ];
      expect(names.filter((name) => !covered(name) && !others.includes(name))).toEqual([]);
    });

    it("The cluster-proxy chart's value exposedServicesConfigMapName names the ConfigMap", async () => {
      const values = {
        exposedServices: [{ namespace: 'a', service: 'b' }],
        exposedServicesConfigMapName: 'other',
      };
      expect(await only('ConfigMap', 'other', values)).toBeDefined();
    });
  });

  describe('The number of brokers in the cluster-proxy chart', () => {
    const external = { external: { url: 'redis://r:6379' } };
    it.each([
      [{}, 2, true],
      [{ replicas: 2 }, 2, true],
      [{ replicas: 3 }, 3, true],
      [{ proxyServer: { replicas: 1 } }, 1, false],
      [{ replicas: 3, proxyServer: { replicas: 1 } }, 1, false],
      [{ redis: { enabled: false } }, 1, false],
      [{ redis: { enabled: false, ...external } }, 2, false],
      [{ redis: external, replicas: 3 }, 3, false],
      [{ redis: external, proxyServer: { replicas: 1 } }, 1, false],
    ])(
      "The cluster-proxy chart's values %j give %i brokers, with bundled Redis: %j",
      async (values: Values, brokers, own) => {
        const objects = await helm.template('cluster-proxy', values);
        expect(objectOf(objects, ...configuration)).toMatchObject(server({ replicas: brokers }));
        expect(
          objects.filter(({ metadata }) => metadata.name === 'cluster-proxy-redis'),
        ).toHaveLength(own ? 3 : 0);
        const args = managerArgs(objects).filter((text) => text.startsWith('--redis'));
        expect(args).toHaveLength(brokers === 1 ? 0 : 1);
      },
    );

    it.each([
      [{ redis: { enabled: false }, replicas: 2 }, 'replicas is 2'],
      [{ redis: { enabled: false }, proxyServer: { replicas: 3 } }, 'proxyServer.replicas is 3'],
    ])(
      'The cluster-proxy chart refuses the broker count of %j and says what to do',
      async (values: Values, words) => {
        expect(await helm.refusal('cluster-proxy', values)).toContain(
          `${words}, but several brokers need Redis to find each other's clusters: set redis.enabled=true, or redis.external.url, or proxyServer.replicas=1`,
        );
      },
    );
  });

  it.each([
    [
      { entrypointAddress: 'a', entrypointIngress: { host: 'b' }, entrypointLoadBalancer: true },
      'Hostname',
    ],
    [{ entrypointIngress: { host: 'b' }, entrypointLoadBalancer: true }, 'Ingress'],
    [{ entrypointLoadBalancer: true }, 'LoadBalancerService'],
    [{}, 'PortForward'],
  ])('The cluster-proxy chart uses the first entrypoint of %j: %s', async (proxyServer, type) => {
    expect(await only(...configuration, { proxyServer })).toMatchObject(
      server({ entrypoint: { type } }),
    );
  });

  it.each([
    [
      { proxyServer: { entrypointAdress: 'x' } },
      "additional properties 'entrypointAdress' not allowed",
    ],
    [{ redis: { url: 'x' } }, "additional properties 'url' not allowed"],
    [{ unheardOf: 1 }, "additional properties 'unheardOf' not allowed"],
    [
      { featureGates: { clusterProfiles: true } },
      "additional properties 'clusterProfiles' not allowed",
    ],
    [{ replicas: 0 }, 'minimum: got 0, want 1'],
    [{ replicas: '2' }, 'got string, want integer'],
    [{ proxyServer: { port: 0 } }, 'minimum: got 0, want 1'],
    [{ proxyServer: { port: 65_536 } }, 'maximum: got 65,536, want 65,535'],
    [
      { proxyServer: { entrypointAddress: 'wss://x:8091' } },
      "'wss://x:8091' does not match pattern",
    ],
    [{ proxyServer: { imagePullPolicy: 'always' } }, 'value must be one of'],
    [{ tag: 'v0.11.0' }, 'v0.11.0 is an image of the earlier Cluster Proxy'],
    [{ tag: '0.9.1' }, '0.9.1 is an image of the earlier Cluster Proxy'],
    [{ proxyServerImage: 'quay.io/x:v1' }, "'quay.io/x:v1' does not match pattern"],
    [{ redis: { external: { url: 'redis://u:secret@r' } } }, 'does not match pattern'],
    [{ redis: { external: { url: 'http://r' } } }, 'does not match pattern'],
    [{ redis: { password: 'p@ss' } }, 'does not match pattern'],
    [{ logLevel: 'verbose' }, 'value must be one of'],
    [{ proxyAgent: { allow: ['db:1', 'junk'] } }, "'junk' does not match pattern"],
    [{ exposedServices: [{ service: 'b' }] }, "missing property 'namespace'"],
    [{ spokeAddonNamespace: 'A' }, 'does not match pattern'],
    [
      { redis: { external: { url: 'redis://r', secretName: 's' } } },
      'redis.external.url and redis.external.secretName are both set, keep one',
    ],
    [
      { installByPlacement: { placementNamespace: 'n' } },
      'installByPlacement.placementNamespace is n, but installByPlacement.placementName is empty',
    ],
  ])('The cluster-proxy chart refuses %j', async (values: Values, words) => {
    expect(await helm.refusal('cluster-proxy', values)).toContain(words);
  });

  it('The cluster-proxy chart makes its own Placement only if the values name none', async () => {
    const kinds = async (values: Values) =>
      (await helm.template('cluster-proxy', values)).map(({ kind }) => kind);
    expect(await kinds({})).toEqual(
      expect.arrayContaining(['Placement', 'ManagedClusterSetBinding']),
    );
    const named = await kinds({
      installByPlacement: { placementName: 'p', placementNamespace: 'n' },
    });
    expect(named).not.toEqual(expect.arrayContaining(['Placement']));
    expect(named).not.toEqual(expect.arrayContaining(['ManagedClusterSetBinding']));
  });

  it('The cluster-proxy chart makes no ManagedClusterSetBinding if the values disable it', async () => {
    const values = { installByPlacement: { clusterSetBinding: false } };
    const kinds = (await helm.template('cluster-proxy', values)).map(({ kind }) => kind);
    expect(kinds).toContain('Placement');
    expect(kinds).not.toContain('ManagedClusterSetBinding');
  });

  it('The Placement of the cluster-proxy chart lets clusters keep their agents while their klusterlets are silent', async () => {
    const placement = await only('Placement', 'cluster-proxy-placement', {});
    expect(placement['spec']).toEqual({
      clusterSets: ['global'],
      tolerations: ['unreachable', 'unavailable'].map((taint) => ({
        key: `cluster.open-cluster-management.io/${taint}`,
        operator: 'Exists',
      })),
    });
  });

  it.each([
    [[], [{ protocol: 'TCP' }]],
    [
      [8443, 6443],
      [
        { protocol: 'TCP', port: 8443 },
        { protocol: 'TCP', port: 6443 },
      ],
    ],
  ])(
    'The NetworkPolicy of the cluster-proxy chart lets the manager connect to kube-apiservers at %j',
    async (apiServerPorts, ports) => {
      const name = 'cluster-proxy-addon-manager-network-policy';
      const values = { networkPolicies: { enabled: true, apiServerPorts } };
      const { spec } = (await only('NetworkPolicy', name, values)) as unknown as {
        spec: { egress: object[] };
      };
      expect(spec.egress.slice(1)).toEqual([{ ports }]);
    },
  );

  it.each([
    ['auto', [], 65_532],
    ['auto', ['--api-versions=security.openshift.io/v1'], undefined],
    ['none', [], undefined],
    [999, ['--api-versions=security.openshift.io/v1'], 999],
  ])(
    'The cluster-proxy chart with redis.runAsUser %j and %j runs Redis as %j',
    async (runAsUser, args, user) => {
      const objects = await helm.template('cluster-proxy', { redis: { runAsUser } }, args);
      const { spec } = objectOf(objects, ...redis) as unknown as {
        spec: { template: { spec: { securityContext: { runAsUser?: number } } } };
      };
      expect(spec.template.spec.securityContext.runAsUser).toBe(user);
    },
  );

  it.each([
    [[], 'v1alpha1'],
    [['v1alpha1'], 'v1alpha1'],
    [['v1alpha1', 'v1beta1'], 'v1alpha1'],
    [['v1beta1'], 'v1beta1'],
  ])(
    'The cluster-proxy chart on a hub that serves %j registers the addon as %s',
    async (served, version) => {
      const group = 'addon.open-cluster-management.io';
      const args = served.map((v) => `--api-versions=${group}/${v}/ClusterManagementAddOn`);
      const objects = await helm.template('cluster-proxy', {}, args);
      const { apiVersion, spec } = objectOf(objects, ...addon);
      expect(apiVersion).toBe(`${group}/${version}`);
      const mpc = {
        group: 'proxy.open-cluster-management.io',
        resource: 'managedproxyconfigurations',
      };
      expect(spec).toMatchObject(
        version === 'v1beta1'
          ? { defaultConfigs: [{ ...mpc, name: 'cluster-proxy' }] }
          : {
              supportedConfigs: [
                { ...mpc, defaultConfig: { name: 'cluster-proxy' } },
                { group, resource: 'addondeploymentconfigs' },
              ],
            },
      );
    },
  );

  it('The cluster-proxy chart lets agents connect to the Services that HTTP clients may reach', async () => {
    const services = [
      { namespace: 'a', service: 'b', port: 8080 },
      { namespace: 'a', service: 'c', port: 'http', clusters: ['c1'], hubTokens: true },
      { namespace: 'a', service: 'd' },
    ];
    const given = { proxyAgent: { allow: ['db:5432'] }, exposedServices: services };
    const allow = async (values: Values) =>
      ((await only(...configuration, values))['spec'] as { proxyAgent: { allow: string[] } })
        .proxyAgent.allow;
    expect(await allow({ ...given, enableServiceProxy: true })).toEqual([
      'db:5432',
      'b.a.svc:8080',
      'c.a.svc:*',
      'd.a.svc:*',
    ]);
    expect(await allow(given)).toEqual(['db:5432']);
  });

  it('The cluster-proxy chart ends the access of ClusterProfiles before the release is deleted', async () => {
    const objects = await helm.template('cluster-proxy', {
      featureGates: { clusterProfile: true },
    });
    const job = objectOf(objects, 'Job', 'cluster-proxy-end-access');
    expect(job.metadata.annotations).toMatchObject({ 'helm.sh/hook': 'pre-delete' });
    const kinds = (await defaults).map(({ kind }) => kind);
    expect(kinds).not.toContain('Job');
  });

  it('The cluster-proxy chart starts the manager with options that the manager accepts', async () => {
    const objects = await helm.template('cluster-proxy', { enableServiceProxy: true });
    const [command, ...args] = managerArgs(objects);
    expect(command).toBe('addon');
    const { options } = readAddonOptions(args, { POD_NAMESPACE: 'hub-ns', POD_NAME: 'p' });
    expect(options).toMatchObject({
      leaderElect: true,
      metricsListen: { port: 58080 },
      healthListen: { port: 58081 },
      signerSecretNamespace: 'hub-ns',
      redis: { secretRef: { name: 'cluster-proxy-redis', key: 'url' } },
    });
  });

  it('The cluster-proxy chart gives each container only the rights that it needs', async () => {
    const objects = await helm.template('cluster-proxy');
    const specs = objects.flatMap(({ kind, spec }) =>
      kind === 'Deployment' ? [(spec as PodOwner).template.spec] : [],
    );
    expect(specs).toHaveLength(2);
    for (const spec of specs) {
      expect(spec).toMatchObject({
        securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      });
      for (const one of spec.containers) {
        expect(one).toMatchObject({
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
        });
      }
    }
  });

  it('The cluster-proxy chart gives no permission by a wildcard', async () => {
    const rules = (await helm.template('cluster-proxy')).flatMap(
      (object) => (object['rules'] ?? []) as readonly RbacRule[],
    );
    expect(rules.length).toBeGreaterThan(10);
    for (const { apiGroups, resources, verbs } of rules) {
      expect([...apiGroups, ...resources, ...verbs]).not.toContain('*');
    }
  });

  async function only(kind: string, name: string, values: Values): Promise<KubeObject> {
    return objectOf(await helm.template('cluster-proxy', values), kind, name);
  }
});

interface RbacRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

interface PodOwner {
  readonly template: {
    readonly spec: { readonly containers: readonly { readonly args: readonly string[] }[] };
  };
}

function managerArgs(objects: readonly KubeObject[]): readonly string[] {
  const { spec } = objectOf(objects, ...manager) as unknown as { spec: PodOwner };
  return spec.template.spec.containers[0]!.args;
}
