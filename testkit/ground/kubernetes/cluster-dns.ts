import { dnsImage } from './images.ts';
import { addressesOf, clusterDomain, entrypoints, type ClusterPlan } from './topology.ts';

const labels = { 'k8s-app': 'kube-dns' };
const inSystem = { name: 'coredns', namespace: 'kube-system' };

/** CoreDNS for a cluster. It knows the Services and the external names of the hub. */
export function dnsObjects(plan: ClusterPlan): object[] {
  const hosts = Object.values(entrypoints).map(({ address, name }) => `    ${address} ${name}`);
  const corefile = `.:53 {
  errors
  health
  ready
  reload
  hosts {
${hosts.join('\n')}
    fallthrough
  }
  kubernetes ${clusterDomain} in-addr.arpa ip6.arpa
}
`;
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: inSystem },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: 'system:coredns' },
      rules: [
        {
          apiGroups: [''],
          resources: ['endpoints', 'services', 'pods', 'namespaces'],
          verbs: ['list', 'watch'],
        },
        {
          apiGroups: ['discovery.k8s.io'],
          resources: ['endpointslices'],
          verbs: ['list', 'watch'],
        },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: 'system:coredns' },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'system:coredns',
      },
      subjects: [{ kind: 'ServiceAccount', ...inSystem }],
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: inSystem, data: { Corefile: corefile } },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: inSystem,
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: 'coredns',
            dnsPolicy: 'Default',
            containers: [
              {
                name: 'coredns',
                image: dnsImage,
                imagePullPolicy: 'Never',
                args: ['-conf', '/etc/coredns/Corefile'],
                volumeMounts: [{ name: 'configuration', mountPath: '/etc/coredns' }],
                readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
              },
            ],
            volumes: [{ name: 'configuration', configMap: { name: 'coredns' } }],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'kube-dns', namespace: 'kube-system' },
      spec: {
        clusterIP: addressesOf(plan).dnsService,
        selector: labels,
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP' },
          { name: 'dns-tcp', port: 53, protocol: 'TCP' },
        ],
      },
    },
  ];
}
