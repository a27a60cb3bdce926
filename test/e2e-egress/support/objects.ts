import { apiAddress, backendPort, nodeAddress, podAddress, webhookAddress } from './addresses.ts';

/** The aggregated API that test/e2e-egress/go/pods serves. */
export const apiVersion = 'egress.culvert.test/v1';
export const nodeName = 'node1';
export const podName = 'pod1';

/** A Service with one endpoint, which no controller maintains. */
function service(name: string, { pod, service: clusterIP }: typeof webhookAddress) {
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: { clusterIP, ports: [{ name: 'https', port: 443, targetPort: backendPort }] },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name,
        namespace: 'default',
        labels: { 'kubernetes.io/service-name': name },
      },
      addressType: 'IPv4',
      ports: [{ name: 'https', port: backendPort, protocol: 'TCP' }],
      endpoints: [{ addresses: [pod], conditions: { ready: true } }],
    },
  ];
}

/** The objects of a cluster with one node and one pod. `caBundle` is base64. */
export function clusterObjects(caBundle: string): object[] {
  return [
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'default', namespace: 'default' },
    },
    { apiVersion: 'v1', kind: 'Node', metadata: { name: nodeName } },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: podName, namespace: 'default' },
      spec: {
        nodeName,
        automountServiceAccountToken: false,
        containers: [{ name: 'main', image: 'none', ports: [{ containerPort: 80 }] }],
      },
    },
    ...service('webhook', webhookAddress),
    ...service('api', apiAddress),
    {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: 'v1.egress.culvert.test' },
      spec: {
        group: 'egress.culvert.test',
        version: 'v1',
        groupPriorityMinimum: 1000,
        versionPriority: 10,
        caBundle,
        service: { namespace: 'default', name: 'api', port: 443 },
      },
    },
    webhook('by-service', { service: { namespace: 'default', name: 'webhook', path: '/service' } }),
    webhook('by-url', { url: `https://${webhookAddress.pod}:${backendPort}/url` }),
  ];

  function webhook(name: string, clientConfig: object) {
    return {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name },
      webhooks: [
        {
          name: `${name}.culvert.test`,
          clientConfig: { ...clientConfig, caBundle },
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          failurePolicy: 'Fail',
          objectSelector: { matchLabels: { webhook: name } },
          rules: [
            {
              apiGroups: [''],
              apiVersions: ['v1'],
              operations: ['CREATE'],
              resources: ['configmaps'],
            },
          ],
        },
      ],
    };
  }
}

/** What a kubelet would report, to be applied to the subresource `status`. */
export const statuses = [
  {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: nodeName },
    status: {
      addresses: [{ type: 'InternalIP', address: nodeAddress }],
      daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName, namespace: 'default' },
    status: {
      phase: 'Running',
      hostIP: nodeAddress,
      podIP: podAddress,
      podIPs: [{ ip: podAddress }],
      containerStatuses: [
        {
          name: 'main',
          image: 'none',
          imageID: 'none',
          ready: true,
          restartCount: 0,
          containerID: 'none://main',
          state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
        },
      ],
    },
  },
];

/** A ConfigMap whose creation asks one of the webhooks. */
export function reviewed(webhook: 'by-service' | 'by-url', isDenied = false): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      generateName: 'reviewed-',
      namespace: 'default',
      labels: { webhook, ...(isDenied && { deny: 'true' }) },
    },
  };
}
