import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Progress, StartedCluster } from './started-cluster.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import type { Kubectl } from './kubectl.ts';
import { applyOcm } from './ocm-manifests.ts';
import type { Programs } from './programs.ts';
import { addressesOf, apiPort, egressProxyUrl, entrypointPort, entrypoints } from './topology.ts';
import { waitFor } from './wait.ts';

const hubNamespace = 'open-cluster-management-hub';
const agentNamespace = 'open-cluster-management-agent';
const bootstrap = { namespace: 'open-cluster-management', name: 'agent-registration-bootstrap' };
const common = ['--disable-leader-election'];

/** OCM's hub. Its programs run in the namespaces of the hub, each as its own ServiceAccount. */
export async function startOcmHub(
  hub: StartedCluster,
  go: Programs,
  progress: Progress,
): Promise<void> {
  await applyOcm(go['ocm-manifests'], hub.kubectl, ['hub-crds', 'hub-roles']);
  await hub.kubectl.apply(bootstrapObjects());
  const bootstrapUser = `system:serviceaccount:${bootstrap.namespace}:${bootstrap.name}`;
  const programs = [
    {
      name: 'ocm-registration',
      account: 'registration-controller-sa',
      args: [
        'controller',
        '--feature-gates=DefaultClusterSet=true,ManagedClusterAutoApproval=true,ResourceCleanup=true',
        `--auto-approved-csr-users=${bootstrapUser}`,
      ],
    },
    { name: 'ocm-work', account: 'work-controller-sa', args: ['manager'] },
    { name: 'ocm-addon', account: 'addon-manager-controller-sa', args: ['manager'] },
    { name: 'ocm-placement', account: 'placement-controller-sa', args: ['controller'] },
  ] as const;
  for (const [index, { name, account, args }] of programs.entries()) {
    const kubeconfig = await accountKubeconfig(hub, hubNamespace, account);
    await hub.start(name, go[name], [
      ...[...args, ...common, `--kubeconfig=${kubeconfig}`],
      ...[`--namespace=${hubNamespace}`, `--listen=127.0.0.1:${28_001 + index}`],
    ]);
  }
  progress('runs the hub of Open Cluster Management');
}

/** Registers a managed cluster with the hub, through its firewall, and runs OCM's agents. */
export async function joinHub(
  managed: StartedCluster,
  hub: StartedCluster,
  go: Programs,
  progress: Progress,
): Promise<void> {
  const { plan, directories, kubectl } = managed;
  await applyOcm(go['ocm-manifests'], kubectl, ['managed-crds', 'managed-roles']);
  const hubKubeconfigs = join(directories.root, 'hub-kubeconfig');
  await mkdir(hubKubeconfigs, { recursive: true });
  const bootstrapKubeconfig = await writeKubeconfig(
    join(directories.kubeconfigs, 'hub-bootstrap'),
    {
      url: hubUrl,
      caFile: hub.pki.ca.cert,
      credentials: { token: await tokenOf(hub.kubectl, bootstrap.namespace, bootstrap.name) },
      ...(plan.egress === 'proxy' ? { proxyUrl: egressProxyUrl } : {}),
    },
  );
  const agent = [...common, `--namespace=${agentNamespace}`, `--spoke-cluster-name=${plan.name}`];
  await managed.start('ocm-registration', go['ocm-registration'], [
    ...['agent', ...agent, '--agent-id=ground', '--listen=127.0.0.1:28005'],
    `--kubeconfig=${await accountKubeconfig(managed, agentNamespace, 'registration-sa')}`,
    `--bootstrap-kubeconfig=${bootstrapKubeconfig}`,
    `--hub-kubeconfig-dir=${hubKubeconfigs}`,
    `--spoke-external-server-urls=https://${addressesOf(plan).node}:${apiPort}`,
    `--addon-kubeclient-registration-auth=${plan.addonRegistration ?? 'csr'}`,
  ]);
  progress('waits to join the hub');
  await waitForCondition(hub.kubectl, plan.name, 'ManagedClusterJoined', directories.logs);
  const hubKubeconfig = join(hubKubeconfigs, 'kubeconfig');
  await waitFor(async () => existsSync(hubKubeconfig), {
    what: `hub kubeconfig of ${plan.name}`,
    timeoutMs: 30_000,
  });
  await managed.start('ocm-work', go['ocm-work'], [
    ...['agent', ...agent, '--agent-id=ground', '--listen=127.0.0.1:28006'],
    `--kubeconfig=${await accountKubeconfig(managed, agentNamespace, 'work-sa')}`,
    ...['--workload-source-driver=kube', `--workload-source-config=${hubKubeconfig}`],
    '--status-sync-interval=5s',
  ]);
  progress('waits to be Available on the hub');
  await waitForCondition(
    hub.kubectl,
    plan.name,
    'ManagedClusterConditionAvailable',
    directories.logs,
  );
  progress('is joined and Available');
}

export const hubUrl = `https://${entrypoints.api.address}:${entrypointPort}`;

/** Whether a condition of a ManagedCluster is True. */
export async function hasCondition(
  hub: Pick<Kubectl, 'get'>,
  cluster: string,
  condition: string,
): Promise<boolean> {
  const object = await hub.get<{
    readonly status?: { readonly conditions?: readonly { type: string; status: string }[] };
  }>('managedcluster', cluster);
  const conditions = object.status?.conditions ?? [];
  return conditions.some(({ type, status }) => type === condition && status === 'True');
}

async function waitForCondition(
  hub: Kubectl,
  cluster: string,
  condition: string,
  logs: string,
): Promise<void> {
  await waitFor(() => hasCondition(hub, cluster, condition), {
    what: `condition ${condition} of ManagedCluster ${cluster} (see ${logs}/ocm-registration.log)`,
    timeoutMs: 120_000,
    pollMs: 500,
  });
}

async function accountKubeconfig(
  { plan, directories, pki, kubectl }: StartedCluster,
  namespace: string,
  account: string,
): Promise<string> {
  return writeKubeconfig(join(directories.kubeconfigs, account), {
    url: `https://${addressesOf(plan).node}:${apiPort}`,
    caFile: pki.ca.cert,
    credentials: { token: await tokenOf(kubectl, namespace, account) },
  });
}

async function tokenOf(kubectl: Kubectl, namespace: string, account: string): Promise<string> {
  const args = ['-n', namespace, 'create', 'token', account, '--duration=24h'];
  return (await kubectl.run(args)).trim();
}

/** The bootstrap identity of clusters: it may only ask to join. */
function bootstrapObjects(): object[] {
  const role = { name: 'open-cluster-management:bootstrap' };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: bootstrap.namespace } },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: bootstrap },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: role,
      rules: [
        {
          apiGroups: ['certificates.k8s.io'],
          resources: ['certificatesigningrequests'],
          verbs: ['create', 'get', 'list', 'watch'],
        },
        {
          apiGroups: ['cluster.open-cluster-management.io'],
          resources: ['managedclusters'],
          verbs: ['create', 'get', 'list', 'watch', 'update', 'patch'],
        },
        {
          apiGroups: ['cluster.open-cluster-management.io'],
          resources: ['managedclustersets/join'],
          verbs: ['create'],
        },
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: role,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', ...role },
      subjects: [{ kind: 'ServiceAccount', ...bootstrap }],
    },
  ];
}
