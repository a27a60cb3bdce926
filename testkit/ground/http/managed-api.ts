import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startProgram } from '../../processes/process.ts';
import { startApiServer, type RunningApiServer } from '../kubernetes/api-server.ts';
import type { ApiServerProgram, Programs } from '../kubernetes/programs.ts';
import type { HttpPrograms } from './http-programs.ts';

export const nodeName = 'node1';
export const podName = 'pod1';
/** The namespace of the agent's ServiceAccount, as the addon installs it. */
export const agentNamespace = 'open-cluster-management-cluster-proxy';
export const agentServiceAccount = 'cluster-proxy';

export interface ManagedApiOptions {
  /** The port of the kube-apiserver (default: a free one). */
  readonly port?: number;
  /**
   * The address of the kubelet (default: 127.0.0.1, for which kube-apiserver has no node proxy).
   */
  readonly nodeAddress?: string;
}

/**
 * A kube-apiserver with one node and one pod. The node's kubelet is a program with kubelet's own
 * streaming code. A command in the pod is a program on this machine, in the directory `podRoot`.
 */
export interface ManagedApi extends AsyncDisposable {
  readonly server: RunningApiServer;
  readonly podRoot: string;
}

export async function startManagedApi(
  kubernetes: Programs<ApiServerProgram>,
  { kubelet }: Pick<HttpPrograms, 'kubelet'>,
  { port, nodeAddress = '127.0.0.1' }: ManagedApiOptions = {},
): Promise<ManagedApi> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(
    await startApiServer(kubernetes, {
      ...(port === undefined ? {} : { port }),
      apiServerFlags: [
        '--kubelet-preferred-address-types=InternalIP',
        // Without it, kube-apiserver looks for a default route. Nothing uses the address.
        '--advertise-address=192.0.2.1',
      ],
    }),
  );
  const podRoot = join(server.directory, 'pod');
  await mkdir(podRoot);
  const files = await server.pki.issue({
    name: 'kubelet',
    user: 'system:node:node1',
    ipAddresses: [nodeAddress],
  });
  const program = stack.use(
    startProgram({
      command: kubelet,
      name: 'kubelet',
      args: [
        `--listen=${nodeAddress}:0`,
        `--cert=${files.cert}`,
        `--key=${files.key}`,
        `--root=${podRoot}`,
      ],
    }),
  );
  const [, kubeletPort] = await program.waitForLine(/"port":(\d+)/);
  await server.apply(objects);
  await server.apply(statuses(nodeAddress, Number(kubeletPort)), ['--subresource=status']);
  const running = stack.move();
  return { server, podRoot, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

const objects = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: agentNamespace } },
  {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: agentServiceAccount, namespace: agentNamespace },
  },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'default' } },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'agent' },
    rules: [
      {
        apiGroups: [''],
        resources: ['users', 'groups', 'serviceaccounts'],
        verbs: ['impersonate'],
      },
      { apiGroups: ['authentication.k8s.io'], resources: ['tokenreviews'], verbs: ['create'] },
      { apiGroups: [''], resources: ['services'], verbs: ['get'] },
    ],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'agent' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'agent' },
    subjects: [{ kind: 'ServiceAccount', name: agentServiceAccount, namespace: agentNamespace }],
  },
  { apiVersion: 'v1', kind: 'Node', metadata: { name: nodeName } },
  {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: podName, namespace: 'default' },
    spec: {
      nodeName,
      automountServiceAccountToken: false,
      containers: [{ name: 'main', image: 'none', stdin: true, tty: false }],
    },
  },
];

/** What a kubelet would report. */
function statuses(nodeAddress: string, kubeletPort: number): object[] {
  return [
    {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: nodeName },
      status: {
        addresses: [{ type: 'InternalIP', address: nodeAddress }],
        daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: podName, namespace: 'default' },
      status: {
        phase: 'Running',
        hostIP: nodeAddress,
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
}
