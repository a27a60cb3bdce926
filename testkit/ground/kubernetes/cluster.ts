import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeCgroups } from './cgroups.ts';
import { dnsObjects } from './cluster-dns.ts';
import { ClusterPki } from './cluster-pki.ts';
import { apiServerArguments, controllerManagerArguments, etcdArguments } from './control-plane.ts';
import { firewallRules } from './firewall.ts';
import type { ImageFile } from './image-builder.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { entranceOf, makeNodeNamespaces } from './namespaces.ts';
import { importImages, startContainerd, startKubelet, startKubeProxy } from './node-programs.ts';
import { connectToSegment } from './segment.ts';
import { mutatingPolicyFlags } from './openshift-admission.ts';
import {
  startedCluster,
  type ClusterPrograms,
  type Progress,
  type StartedCluster,
} from './started-cluster.ts';
import { directoriesOf, writeHosts } from './state.ts';
import { addressesOf, apiPort, entrypoints, type ClusterPlan } from './topology.ts';
import { waitFor } from './wait.ts';

/** Starts a cluster of one real node. Returns when the node is Ready and CoreDNS is applied. */
export async function startCluster(
  plan: ClusterPlan,
  programs: ClusterPrograms,
  images: readonly ImageFile[],
  progress: Progress,
): Promise<StartedCluster> {
  const { go, node } = programs;
  const cluster = await prepare(plan, programs);
  const { directories, pki, kubectl } = cluster;
  const addresses = addressesOf(plan);

  const dataDirectory = join(directories.root, 'etcd');
  const etcd = { clientPort: 2379, peerPort: 2380 };
  await cluster.start('etcd', go.etcd, etcdArguments({ dataDirectory, ...etcd }));
  await startApiServer(cluster, programs, etcd.clientPort);
  const socket = await startContainerd(cluster, node);
  const imported = importImages(cluster, images);
  // A failure reaches the code that waits for the promise.
  imported.catch(() => {});

  progress('waits for its API server');
  await waitFor(async () => (await kubectl.run(['get', '--raw', '/readyz'])) === 'ok', {
    what: `ready API server of ${plan.name} (see ${directories.logs}/kube-apiserver.log)`,
    timeoutMs: 90_000,
    pollMs: 250,
  });
  const controllerManager = await cluster.kubeconfig('kcm', 'system:kube-controller-manager');
  await cluster.start(
    'kube-controller-manager',
    go['kube-controller-manager'],
    controllerManagerArguments({ pki, kubeconfig: controllerManager, port: 10_257 }),
  );
  const scheduler = await cluster.kubeconfig('scheduler', 'system:kube-scheduler');
  await cluster.start('kube-scheduler', go['kube-scheduler'], [
    ...[`--kubeconfig=${scheduler}`, '--leader-elect=false', '--bind-address=127.0.0.1'],
    ...[`--authentication-kubeconfig=${scheduler}`, `--authorization-kubeconfig=${scheduler}`],
  ]);
  await imported;
  await startKubelet(cluster, programs, socket);
  await startKubeProxy(cluster, programs);

  progress('waits for its node');
  await waitFor(
    async () => {
      const node = await kubectl.get<NodeObject>('node', plan.name);
      return node.status.conditions.some(
        ({ type, status }) => type === 'Ready' && status === 'True',
      );
    },
    {
      what: `ready node ${plan.name} (see ${directories.logs}/kubelet.log)`,
      timeoutMs: 90_000,
      pollMs: 250,
    },
  );
  await kubectl.apply(dnsObjects(plan));
  progress(`is up at ${addresses.node}`);
  return cluster;
}

interface NodeObject {
  readonly status: { readonly conditions: readonly { type: string; status: string }[] };
}

/** Makes the namespaces, network, firewall and keys of a cluster. Starts no program. */
async function prepare(plan: ClusterPlan, programs: ClusterPrograms): Promise<StartedCluster> {
  const directories = directoriesOf(plan.name);
  const { root, logs, temporary } = directories;
  for (const directory of [logs, directories.kubeconfigs, temporary, join(root, 'pod-logs')]) {
    await mkdir(directory, { recursive: true });
  }
  await writeFile(join(root, 'plan.json'), JSON.stringify(plan));
  // No server answers there, because CoreDNS knows the external names.
  await writeFile(join(root, 'resolv.conf'), 'nameserver 127.0.0.1\n');
  await makeCgroups(plan.name);
  const namespaces = await makeNodeNamespaces({
    directory: root,
    logFile: join(logs, 'holder.log'),
    pause: programs.go.pause,
    hostname: plan.name,
    hosts: await writeHosts(root),
  });
  await connectToSegment(plan, namespaces);
  const pki = await ClusterPki.create(directories.pki, `${plan.name}-ca`);
  await writeKubeconfig(join(directories.kubeconfigs, 'admin'), {
    url: `https://${addressesOf(plan).node}:${apiPort}`,
    caFile: pki.ca.cert,
    credentials: await pki.issue({ name: 'admin', user: 'admin', groups: ['system:masters'] }),
  });
  const cluster = startedCluster(plan, pki, entranceOf(namespaces), programs);
  await cluster.run('nft', ['-f', '-'], firewallRules(plan));
  return cluster;
}

async function startApiServer(
  { plan, pki, start }: StartedCluster,
  { go }: ClusterPrograms,
  etcdPort: number,
): Promise<void> {
  const addresses = addressesOf(plan);
  const isHub = plan.name === 'hub';
  const serving = await pki.issue({
    name: 'apiserver',
    user: 'kube-apiserver',
    dnsNames: [
      ...['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc'],
      'kubernetes.default.svc.cluster.local',
      ...(isHub ? [entrypoints.api.name] : []),
    ],
    ipAddresses: [
      ...['127.0.0.1', addresses.node, addresses.apiService],
      ...(isHub ? [entrypoints.api.address] : []),
    ],
  });
  const toKubelet = await pki.issue({
    name: 'apiserver-kubelet-client',
    user: 'apiserver-kubelet-client',
    groups: ['system:masters'],
  });
  await start(
    'kube-apiserver',
    go['kube-apiserver'],
    apiServerArguments({
      pki,
      serving,
      etcdPort,
      bindAddress: '0.0.0.0',
      port: apiPort,
      serviceRange: addresses.serviceRange,
      extra: [
        `--advertise-address=${addresses.node}`,
        `--kubelet-client-certificate=${toKubelet.cert}`,
        `--kubelet-client-key=${toKubelet.key}`,
        `--kubelet-certificate-authority=${pki.ca.cert}`,
        '--kubelet-preferred-address-types=InternalIP',
        // For the admission of other distributions.
        ...mutatingPolicyFlags,
      ],
    }),
  );
}
