import type { KubeObject, ObjectMeta } from '../../../src/kube/client/kube-object.ts';

const group = 'proxy.open-cluster-management.io/v1alpha1';
const serverLabel = { 'proxy.open-cluster-management.io/component-name': 'proxy-server' };

/** The objects of Cluster Proxy 0.11 with a load balancer that matter for an upgrade. */
export function upstreamObjects(namespace: string, uid: string): readonly KubeObject[] {
  const owner = {
    apiVersion: group,
    kind: 'ManagedProxyConfiguration',
    name: 'cluster-proxy',
    uid,
    blockOwnerDeletion: true,
  };
  const owned = (name: string): ObjectMeta => ({ name, namespace, ownerReferences: [owner] });
  const ports = [
    { name: 'proxy-server', port: 8090 },
    { name: 'agent-server', port: 8091 },
  ];
  const portForward = 'cluster-proxy-addon-agent:portforward';
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: owned('proxy-entrypoint'),
      spec: { type: 'ClusterIP', selector: serverLabel, ports },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'proxy-agent-entrypoint', namespace },
      spec: { type: 'LoadBalancer', selector: serverLabel, ports },
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: owned(portForward),
      rules: [{ apiGroups: [''], resources: ['pods', 'pods/portforward'], verbs: ['*'] }],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: owned(portForward),
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: portForward },
      subjects: [
        {
          apiGroup: 'rbac.authorization.k8s.io',
          kind: 'Group',
          name: 'open-cluster-management:cluster-proxy',
        },
      ],
    },
    deployment(owned('cluster-proxy')),
  ];
}

function deployment(metadata: ObjectMeta): KubeObject {
  const secrets = [
    ['proxy-server-ca-certs', 'proxy-server-ca', '/etc/server-ca-pki/'],
    ['proxy-server-certs', 'proxy-server', '/etc/server-pki/'],
    ['proxy-agent-certs', 'agent-server', '/etc/agent-pki/'],
  ] as const;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      ...metadata,
      labels: { 'proxy.open-cluster-management.io/configuration-generation': '1' },
    },
    spec: {
      replicas: 3,
      selector: { matchLabels: serverLabel },
      strategy: { type: 'Recreate' },
      template: {
        metadata: { labels: serverLabel },
        spec: {
          serviceAccountName: 'cluster-proxy',
          containers: [
            {
              name: 'proxy-server',
              image: 'quay.io/open-cluster-management/cluster-proxy:v0.11.0',
              command: ['/proxy-server'],
              args: ['--server-count=3', '--proxy-strategies=destHost'],
              volumeMounts: secrets.map(([name, , mountPath]) => ({
                name,
                mountPath,
                readOnly: true,
              })),
            },
          ],
          volumes: secrets.map(([name, secretName]) => ({ name, secret: { secretName } })),
        },
      },
    },
  };
}

const sample = (spec: object) => ({
  apiVersion: group,
  kind: 'ManagedProxyConfiguration',
  metadata: { name: 'cluster-proxy' },
  spec,
});

/** Objects as Cluster Proxy's repository and chart write them. */
export const upstreamSamples: readonly (readonly [string, object])[] = [
  [
    'from its first days, with fields that are no more',
    sample({
      authentication: {
        certificateMounting: { secrets: {} },
        certificateSigning: { type: 'SelfSigned' },
      },
      proxyServer: {
        image: 'proxy-server:v0.0.22',
        entrypoint: { type: 'LoadBalancerService', loadBalancerService: {} },
      },
      proxyAgent: { image: 'proxy-agent:v0.0.22' },
    }),
  ],
  ...(
    [
      ['by default', { type: 'PortForward', port: 8091 }],
      ['with a name', { type: 'Hostname', hostname: { value: 'hub.example' }, port: 443 }],
      [
        'with a load balancer',
        { type: 'LoadBalancerService', loadBalancerService: {}, port: 8091 },
      ],
    ] as const
  ).map(([name, entrypoint]): [string, object] => [
    `of its chart ${name}`,
    sample({
      authentication: { dump: { secrets: {} }, signer: { type: 'SelfSigned' } },
      proxyServer: {
        image: 'quay.io/open-cluster-management/cluster-proxy:v0.11.0',
        replicas: 1,
        namespace: 'open-cluster-management-addon',
        entrypoint,
      },
      proxyAgent: {
        image: 'quay.io/open-cluster-management/cluster-proxy:v0.11.0',
        replicas: 1,
      },
      userServer: { additionalSANs: ['proxy.example'] },
      deploy: { ports: {} },
    }),
  ]),
];
