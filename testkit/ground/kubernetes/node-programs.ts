import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DebianRoot } from '../debian-programs.ts';
import type { ImageFile } from './image-builder.ts';
import {
  cniConfiguration,
  containerdConfiguration,
  kubeletConfiguration,
  kubeProxyConfiguration,
} from './node-configuration.ts';
import type { ClusterPrograms, StartedCluster } from './started-cluster.ts';
import type { ClusterDirectories } from './state.ts';
import { addressesOf } from './topology.ts';
import { waitFor } from './wait.ts';

/** Returns the path of containerd's socket. */
export async function startContainerd(cluster: StartedCluster, node: DebianRoot): Promise<string> {
  const { plan, directories, start } = cluster;
  const { root } = directories;
  const cniConfigurations = join(root, 'cni');
  await mkdir(cniConfigurations, { recursive: true });
  await writeJson(join(cniConfigurations, '10-ground.conflist'), cniConfiguration(plan, root));
  const unpacked = join(node.root, 'usr/lib/cni');
  const socket = containerdSocketOf(directories);
  const file = join(root, 'containerd.toml');
  await writeFile(
    file,
    containerdConfiguration({
      directory: root,
      socket,
      cniPlugins: existsSync(unpacked) ? unpacked : '/usr/lib/cni',
      cniConfigurations,
    }),
  );
  await start('containerd', 'containerd', ['--config', file]);
  return socket;
}

function containerdSocketOf({ root }: ClusterDirectories): string {
  return join(root, 'containerd.sock');
}

/** Loads images into a node that no registry has. */
export async function importImages(
  { directories, run }: Pick<StartedCluster, 'directories' | 'run'>,
  images: readonly ImageFile[],
): Promise<void> {
  const socket = containerdSocketOf(directories);
  const ctr = ['--address', socket, '--namespace', 'k8s.io'];
  await waitFor(async () => run('ctr', [...ctr, 'version']), {
    what: `containerd (see ${directories.logs}/containerd.log)`,
    timeoutMs: 30_000,
  });
  for (const { path } of images) await run('ctr', [...ctr, 'images', 'import', path]);
}

export async function startKubelet(
  cluster: StartedCluster,
  { go }: ClusterPrograms,
  containerdSocket: string,
): Promise<void> {
  const { plan, directories, pki } = cluster;
  const { node } = addressesOf(plan);
  const serving = await pki.issue({
    name: 'kubelet',
    user: plan.name,
    dnsNames: [plan.name],
    ipAddresses: [node, '127.0.0.1'],
  });
  const kubeconfig = await cluster.kubeconfig('node', `system:node:${plan.name}`, ['system:nodes']);
  const settings = { plan, directory: directories.root, pki, serving, containerdSocket };
  const file = await writeJson(
    join(directories.root, 'kubelet.json'),
    kubeletConfiguration(settings),
  );
  await cluster.start('kubelet', go.kubelet, [
    `--config=${file}`,
    `--kubeconfig=${kubeconfig}`,
    `--root-dir=${directories.root}/kubelet`,
    `--hostname-override=${plan.name}`,
    `--node-ip=${node}`,
  ]);
}

export async function startKubeProxy(
  { plan, directories, start, kubeconfig }: StartedCluster,
  { go }: ClusterPrograms,
): Promise<void> {
  const own = await kubeconfig('kube-proxy', 'system:kube-proxy');
  const file = await writeJson(
    join(directories.root, 'kube-proxy.json'),
    kubeProxyConfiguration(plan, own),
  );
  await start('kube-proxy', go['kube-proxy'], [
    `--config=${file}`,
    `--hostname-override=${plan.name}`,
  ]);
}

async function writeJson(path: string, value: object): Promise<string> {
  await writeFile(path, JSON.stringify(value, null, 2));
  return path;
}
