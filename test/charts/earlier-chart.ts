import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { chartDirectory } from '../../testkit/kube/helm.ts';

const labels = {
  'open-cluster-management.io/addon': 'cluster-proxy',
  component: 'cluster-proxy-manager',
};
const name = 'open-cluster-management:cluster-proxy:addon-manager';
const rbac = 'rbac.authorization.k8s.io';
const image = 'quay.io/open-cluster-management/cluster-proxy:v0.11.0';

/** The objects of the chart of Cluster Proxy 0.11 that matter to a later chart. */
function objectsBefore(namespace: string): readonly KubeObject[] {
  const subjects = [{ kind: 'ServiceAccount', name: 'cluster-proxy', namespace }];
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'cluster-proxy', namespace } },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRole',
      metadata: { name },
      rules: [{ apiGroups: [''], resources: ['secrets', 'pods'], verbs: ['*'] }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name },
      subjects,
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'Role',
      metadata: { name, namespace },
      rules: [{ apiGroups: ['apps'], resources: ['deployments'], verbs: ['*'] }],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'RoleBinding',
      metadata: { name, namespace },
      roleRef: { apiGroup: rbac, kind: 'Role', name },
      subjects,
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: {
        name: 'cluster-proxy-addon-manager',
        namespace,
        labels: { component: labels.component },
      },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccount: 'cluster-proxy',
            containers: [
              {
                name: 'manager',
                image,
                command: ['/manager'],
                args: ['--leader-elect=true', `--signer-secret-namespace=${namespace}`],
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'addon.open-cluster-management.io/v1alpha1',
      kind: 'ClusterManagementAddOn',
      metadata: {
        name: 'cluster-proxy',
        annotations: { 'addon.open-cluster-management.io/lifecycle': 'addon-manager' },
      },
      spec: {
        supportedConfigs: [
          {
            group: 'proxy.open-cluster-management.io',
            resource: 'managedproxyconfigurations',
            defaultConfig: { name: 'cluster-proxy' },
          },
        ],
        installStrategy: {
          type: 'Placements',
          placements: [{ name: 'cluster-proxy-placement', namespace }],
        },
      },
    },
    {
      apiVersion: 'proxy.open-cluster-management.io/v1alpha1',
      kind: 'ManagedProxyConfiguration',
      metadata: { name: 'cluster-proxy' },
      spec: {
        authentication: { dump: { secrets: {} }, signer: { type: 'SelfSigned' } },
        proxyServer: {
          image,
          replicas: 1,
          namespace,
          entrypoint: { type: 'PortForward', port: 8091 },
        },
        proxyAgent: { image, replicas: 1 },
      },
    },
    {
      apiVersion: 'cluster.open-cluster-management.io/v1beta2',
      kind: 'ManagedClusterSetBinding',
      metadata: { name: 'global', namespace },
      spec: { clusterSet: 'global' },
    },
    {
      apiVersion: 'cluster.open-cluster-management.io/v1beta1',
      kind: 'Placement',
      metadata: { name: 'cluster-proxy-placement', namespace },
      spec: { clusterSets: ['global'] },
    },
  ];
}

/** The values of Cluster Proxy's chart 0.10.0. */
export const earlierValues = {
  registry: 'quay.io/open-cluster-management',
  image: 'cluster-proxy',
  tag: null,
  replicas: 1,
  spokeAddonNamespace: 'open-cluster-management-cluster-proxy',
  proxyServerImage: 'quay.io/open-cluster-management/cluster-proxy',
  proxyAgentImage: 'quay.io/open-cluster-management/cluster-proxy',
  proxyServer: {
    entrypointLoadBalancer: false,
    entrypointAddress: '',
    port: 8091,
    imagePullPolicy: 'IfNotPresent',
  },
  installByPlacement: { placementName: '', placementNamespace: '' },
  enableKubeApiProxy: true,
  enableServiceProxy: false,
  enableImpersonation: true,
  featureGates: { clusterProfileAccessProvider: false },
  userServer: { enabled: false, additionalSANs: [] },
};

/** The path of a chart of version 0.11.0 with these objects; the caller removes it. */
export async function writeEarlierChart(namespace: string, values: object = {}): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-earlier-chart-'));
  await mkdir(join(directory, 'templates'));
  const chart = { apiVersion: 'v2', name: 'cluster-proxy', version: '0.11.0' };
  await writeFile(join(directory, 'Chart.yaml'), JSON.stringify(chart));
  await writeFile(join(directory, 'values.yaml'), JSON.stringify(values));
  const objects = objectsBefore(namespace).map((object) => JSON.stringify(object));
  await writeFile(join(directory, 'templates', 'all.yaml'), objects.join('\n---\n'));
  return directory;
}

interface Schema {
  readonly properties: Record<string, Schema>;
  enum?: string[];
}

/** The CustomResourceDefinition as it was before it had the fields that are ours. */
export async function earlierDefinition(): Promise<KubeObject> {
  const file = join(chartDirectory('cluster-proxy'), 'crds', 'managedproxyconfigurations.yaml');
  const definition = parse(await readFile(file, 'utf8')) as KubeObject & {
    readonly spec: { versions: { schema: { openAPIV3Schema: Schema } }[] };
  };
  const { proxyServer, proxyAgent } =
    definition.spec.versions[0]!.schema.openAPIV3Schema.properties['spec']!.properties;
  delete proxyServer!.properties['redis'];
  delete proxyServer!.properties['resources'];
  delete proxyServer!.properties['enrolmentKeysSecretRef'];
  delete proxyServer!.properties['policyConfigMapRef'];
  delete proxyAgent!.properties['allow'];
  return definition;
}
