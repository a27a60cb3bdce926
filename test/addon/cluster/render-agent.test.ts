import { describe, expect, it } from 'vitest';
import { renderAgent } from '../../../src/addon/cluster/render-agent.ts';
import { addOn, condition, managedCluster } from '../api/ocm-objects.ts';
import {
  agentInput,
  configuredInput,
  deployment,
  installNamespace,
  manifest,
  manifestsOf,
  problemsOf,
  readyConditions,
  rendered,
  trusted,
  variables,
} from './agent-inputs.ts';
import { isDeployWork } from '../../../src/addon/api/manifest-work.ts';

const deleted = { deletionTimestamp: '2026-11-22T11:00:00Z' };

describe('renderAgent', () => {
  it('renderAgent puts all objects into one ManifestWork that is deleted with the addon', () => {
    const { works, notices } = rendered(agentInput());
    expect(notices).toEqual([]);
    expect(works).toHaveLength(1);
    expect(works[0]).toMatchObject({
      apiVersion: 'work.open-cluster-management.io/v1',
      metadata: {
        name: 'addon-cluster-proxy-deploy-0',
        namespace: 'cluster1',
        labels: { 'open-cluster-management.io/addon-name': 'cluster-proxy' },
        ownerReferences: [
          {
            apiVersion: 'addon.open-cluster-management.io/v1alpha1',
            kind: 'ManagedClusterAddOn',
            name: 'cluster-proxy',
            controller: true,
          },
        ],
      },
      spec: {
        deleteOption: {
          propagationPolicy: 'SelectivelyOrphan',
          selectivelyOrphans: {
            orphaningRules: [{ group: '', resource: 'namespaces', name: installNamespace }],
          },
        },
      },
    });
    expect(isDeployWork(works[0]!.metadata.name)).toBe(true);
    expect(isDeployWork('addon-cluster-proxy-pre-delete')).toBe(false);
  });

  it('renderAgent names the bundle of the hub that it brings', () => {
    const mark = (caBundle: string) =>
      rendered(agentInput({ caBundle })).works[0]!.metadata.annotations?.[
        'proxy.open-cluster-management.io/ca-bundle'
      ];
    const { caBundle } = agentInput();
    expect(mark(caBundle)).toMatch(/^[0-9a-f]{16}$/);
    expect(mark(`${caBundle}${caBundle}`)).not.toBe(mark(caBundle));
  });

  it('renderAgent names its configurations as OCM compares them with the status', () => {
    const { works } = rendered(agentInput());
    const annotation =
      works[0]!.metadata.annotations?.['open-cluster-management.io/config-spec-hash'];
    expect(JSON.parse(annotation ?? '')).toEqual({
      'addondeploymentconfigs.addon.open-cluster-management.io/config/deploy': 'aa',
      'managedproxyconfigurations.proxy.open-cluster-management.io//cluster-proxy': 'bb',
    });
    const bare = agentInput({ addon: addOn({ status: { conditions: readyConditions } }) });
    expect(rendered(bare).works[0]!.metadata.annotations).not.toHaveProperty([
      'open-cluster-management.io/config-spec-hash',
    ]);
  });

  const exact = (enableNetworkPolicies: boolean) =>
    manifestsOf(rendered(agentInput({ enableNetworkPolicies })).works).map(({ kind, metadata }) =>
      [kind, metadata.namespace, metadata.name].filter((part) => part !== undefined).join(' '),
    );
  it('renderAgent renders these objects, and no others', () => {
    const objects = [
      `Namespace ${installNamespace}`,
      `ServiceAccount ${installNamespace} cluster-proxy`,
      `Role ${installNamespace} cluster-proxy-addon-agent`,
      `RoleBinding ${installNamespace} cluster-proxy-addon-agent`,
      `Deployment ${installNamespace} cluster-proxy-proxy-agent`,
      `Secret ${installNamespace} cluster-proxy-ca`,
    ];
    expect(exact(false)).toEqual(objects);
    expect(exact(true)).toEqual(
      objects.toSpliced(
        4,
        0,
        `NetworkPolicy ${installNamespace} cluster-proxy-proxy-agent-network-policy`,
      ),
    );
  });

  it('renderAgent gives the agent no rights except its lease', () => {
    expect(manifest(agentInput(), 'Role')['rules']).toEqual([
      { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
      {
        apiGroups: ['coordination.k8s.io'],
        resources: ['leases'],
        resourceNames: ['cluster-proxy'],
        verbs: ['get', 'update', 'patch'],
      },
    ]);
  });

  it('renderAgent returns the same bytes for the same input', () => {
    const input = () => configuredInput(variables({ replicas: '3' }));
    expect(JSON.stringify(rendered(input()))).toBe(JSON.stringify(rendered(input())));
  });

  it('renderAgent keeps the namespace when the addon is deleted', () => {
    expect(manifest(agentInput(), 'Namespace').metadata.annotations).toEqual({
      'addon.open-cluster-management.io/deletion-orphan': '',
    });
  });

  it('renderAgent moves all objects to the namespace of the configuration', () => {
    const input = configuredInput({ agentInstallNamespace: 'elsewhere' });
    const { works } = rendered(input);
    const namespaces = manifestsOf(works).map(
      ({ metadata }) => metadata.namespace ?? metadata.name,
    );
    expect(new Set(namespaces)).toEqual(new Set(['elsewhere']));
    expect(manifest(input, 'RoleBinding')['subjects']).toEqual([
      { kind: 'ServiceAccount', name: 'cluster-proxy', namespace: 'elsewhere' },
    ]);
    const { args } = deployment(input).container;
    expect(args).toContain('--lease=elsewhere/cluster-proxy');
    expect(args).toContain('--install-namespace=elsewhere');
    expect(JSON.stringify(works)).not.toContain(installNamespace);
  });

  it('renderAgent puts what does not fit into further ManifestWorks, the large Secret first', () => {
    const caBundle = 'x'.repeat(383_000);
    const { works } = rendered(agentInput({ caBundle }));
    expect(works.map(({ metadata }) => metadata.name)).toEqual([
      'addon-cluster-proxy-deploy-0',
      'addon-cluster-proxy-deploy-1',
    ]);
    expect(manifestsOf([works[1]!]).map(({ kind }) => kind)).toEqual(['Secret']);
    for (const work of works) {
      expect(work['spec']).toHaveProperty('deleteOption');
      expect(work.metadata.annotations).toBeDefined();
    }
  });

  const registered = readyConditions[0]!;
  it.each([
    [
      'the addon is being deleted',
      { addon: addOn({ metadata: deleted, status: { conditions: readyConditions } }) },
    ],
    ['the cluster is being deleted', { cluster: managedCluster({ metadata: deleted }) }],
    [
      'the addon is not registered',
      { addon: addOn({ status: { conditions: readyConditions.slice(1) } }) },
    ],
    [
      "OCM has not reported that it is the cluster's turn",
      { addon: addOn({ status: { conditions: [registered] } }) },
    ],
    [
      "OCM has reported that it is not the cluster's turn",
      { addon: addOn({ status: { conditions: [registered, condition('Configured', 'False')] } }) },
    ],
  ])('renderAgent waits while %s', (_, parts) => {
    expect(renderAgent(agentInput(parts)).kind).toBe('waiting');
  });

  it('renderAgent does not wait for rights that are still missing', () => {
    const conditions = [condition('RegistrationApplied', 'False'), readyConditions[1]];
    const addon = addOn({ status: { conditions } });
    expect(renderAgent(agentInput({ addon })).kind).toBe('rendered');
  });

  it('renderAgent fails with a clear message if the entrypoint or the configuration is missing', () => {
    const input = agentInput({
      entrypoint: { pending: 'Service hub/lb has no address yet' },
      deploymentConfig: { kind: 'missing', message: 'AddOnDeploymentConfig a/b does not exist' },
    });
    expect(problemsOf(input)).toBe(
      'AddOnDeploymentConfig a/b does not exist; Service hub/lb has no address yet',
    );
  });
});

describe('the Deployment of the agent', () => {
  it('The Deployment of the agent runs one container with the files of both registrations', () => {
    const { object, pod, container } = deployment(agentInput());
    expect(pod.containers).toHaveLength(1);
    expect(container).toMatchObject({
      name: 'proxy-agent',
      image: 'quay.io/open-cluster-management/cluster-proxy:v1',
      args: [
        'agent',
        '--cluster=cluster1',
        '--agent-id=$(POD_NAME)',
        '--broker-url=wss://proxy.example.com:443',
        '--ca-file=/etc/ca/ca.crt',
        '--certificate-dir=/etc/tls',
        '--hub-kubeconfig=/etc/kubeconfig/kubeconfig',
        `--install-namespace=${installNamespace}`,
        `--lease=${installNamespace}/cluster-proxy`,
        '--status-listen=[::]:8888',
      ],
      livenessProbe: { httpGet: { path: '/healthz', port: 8888 } },
      readinessProbe: { httpGet: { path: '/readyz', port: 8888 } },
      securityContext: {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'] },
        readOnlyRootFilesystem: true,
        runAsNonRoot: true,
      },
    });
    expect(pod).toMatchObject({
      serviceAccountName: 'cluster-proxy',
      terminationGracePeriodSeconds: 40,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      volumes: [
        { name: 'ca', secret: { secretName: 'cluster-proxy-ca' } },
        {
          name: 'hub',
          secret: {
            secretName: 'cluster-proxy-open-cluster-management.io-proxy-agent-signer-client-cert',
          },
        },
        { name: 'hub-kubeconfig', secret: { secretName: 'cluster-proxy-hub-kubeconfig' } },
      ],
    });
    expect(pod).not.toHaveProperty('hostAliases');
    expect(object['spec']).toMatchObject({
      replicas: 2,
      // The selector is immutable, so only this one can take over Cluster Proxy's Deployment.
      selector: {
        matchLabels: {
          'open-cluster-management.io/addon': 'cluster-proxy',
          'proxy.open-cluster-management.io/component-name': 'proxy-agent',
        },
      },
      strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    });
  });

  const hashOf = (input: ReturnType<typeof agentInput>) =>
    deployment(input).template.metadata.annotations[
      'proxy.open-cluster-management.io/rendered-hash'
    ];
  const proxy = agentInput().proxy;
  it.each([
    ['generation', { proxy: { ...proxy, generation: 4 } }],
    ['certificate authorities', { caBundle: 'other' }],
    ['network policies', { enableNetworkPolicies: true }],
    ['replicas', { proxy: { ...proxy, replicas: 5 } }],
  ])('The Deployment of the agent keeps its pods when only %s change', (_, parts) => {
    const before = deployment(agentInput()).template;
    expect(deployment(agentInput(parts)).template).toEqual(before);
  });

  it.each([
    ['image', { proxy: { ...proxy, image: 'other:v2' } }],
    ['entrypoint', { entrypoint: { host: 'b.example.com', port: 443 } }],
    ['settings', { proxy: { ...proxy, flags: [{ name: 'tunnels', value: '1' }] } }],
  ])('The Deployment of the agent replaces its pods when the %s changes', (_, parts) => {
    expect(hashOf(agentInput(parts))).not.toBe(hashOf(agentInput()));
  });

  it("The Deployment of the agent has the configuration's generation outside of the pod template", () => {
    const { object, template } = deployment(agentInput());
    const key = 'proxy.open-cluster-management.io/configuration-generation';
    expect(object.metadata.annotations?.[key]).toBe('3');
    expect(template.metadata.annotations).not.toHaveProperty(key);
  });

  it('The Deployment of the agent passes on the last value of each setting, and all targets', () => {
    const flags = [
      { name: 'log-level', value: 'info' },
      { name: 'allow', value: 'db:5432' },
      { name: 'log-level', value: 'debug' },
      { name: 'drain-timeout', value: '2m' },
    ];
    const input = agentInput({ proxy: { ...proxy, flags, allow: ['*.svc:443', 'db:5432'] } });
    const { container, pod } = deployment(input);
    expect(container.args.slice(10)).toEqual([
      '--log-level=debug',
      '--drain-timeout=2m',
      '--allow=*.svc:443',
      '--allow=db:5432',
    ]);
    expect(pod.terminationGracePeriodSeconds).toBe(130);
  });

  it('The Deployment of the agent escapes dollar signs, so that they are not read as references', () => {
    const flags = [{ name: 'host-header', value: 'a$(HOME)$$' }];
    const { args } = deployment(agentInput({ proxy: { ...proxy, flags } })).container;
    expect(args).toContain('--host-header=a$$(HOME)$$$$');
  });

  it('The Deployment of the agent names the Secrets to pull its image with', () => {
    const input = agentInput({ proxy: { ...proxy, imagePullSecrets: ['one', 'two'] } });
    expect(deployment(input).pod.imagePullSecrets).toEqual([{ name: 'one' }, { name: 'two' }]);
  });
});

describe("the agent's route to the broker", () => {
  const brokerArg = (input: ReturnType<typeof agentInput>) => deployment(input).container.args[3];

  it.each([
    ['10.0.0.9', 8091, 'wss://10.0.0.9:8091'],
    ['fd00::1', 8091, 'wss://[fd00::1]:8091'],
    ['elb.example.com', 443, 'wss://elb.example.com:443'],
  ])("The agent's route to the broker leads to %s", (host, port, url) => {
    const input = agentInput({ entrypoint: { host, port } });
    expect(brokerArg(input)).toBe(`--broker-url=${url}`);
  });

  const viaHub = agentInput({
    entrypoint: { viaHub: 'hub/https:proxy-entrypoint:agent-server' },
  });
  it("The agent's route to the broker leads through the hub's kube-apiserver", () => {
    expect(brokerArg(viaHub)).toBe('--broker-via-hub=hub/https:proxy-entrypoint:agent-server');
  });

  it.each([
    [{ serviceEntryPoint: 'own.example.com' }, 'own.example.com:443', {}],
    [{ serviceEntryPoint: 'own', serviceEntryPointPort: '9443' }, 'own:9443', {}],
    [{ serviceEntryPoint: 'fd00::2' }, '[fd00::2]:443', {}],
    [{ serviceEntryPointPort: '9443' }, 'proxy.example.com:9443', {}],
    [{ serviceEntryPoint: 'own' }, 'own:8091', { entrypoint: viaHub.entrypoint }],
    [{ serviceEntryPoint: 'own' }, 'own:8091', { entrypoint: { pending: 'not yet' } }],
  ])("The agent's route to the broker is changed for a cluster by %j", (values, address, parts) => {
    expect(brokerArg(configuredInput(variables(values), parts))).toBe(
      `--broker-url=wss://${address}`,
    );
  });

  it("The agent's route to the broker ignores a port without a host", () => {
    const parts = { entrypoint: viaHub.entrypoint };
    const input = configuredInput(variables({ serviceEntryPointPort: '9443' }), parts);
    expect(brokerArg(input)).toMatch(/^--broker-via-hub=/);
    expect(rendered(input).notices).toEqual([
      expect.stringContaining('AddOnDeploymentConfig config/deploy: serviceEntryPointPort'),
    ]);
  });
});

describe('the CA Secret', () => {
  it('The CA Secret holds the CAs by which agents trust the broker', () => {
    expect(trusted(agentInput())).toBe(agentInput().caBundle);
  });
});
