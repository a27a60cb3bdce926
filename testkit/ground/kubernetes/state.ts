import { existsSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { entrypoints } from './topology.ts';

/** The directory of the running test clusters. There is one set of clusters per machine. */
export const stateDirectory = '/tmp/culvert-ground';
export const fabricDirectory = join(stateDirectory, 'fabric');

/** The files of one cluster. */
export interface ClusterDirectories {
  readonly root: string;
  readonly logs: string;
  readonly pki: string;
  readonly kubeconfigs: string;
  /** Temporary files of its programs. */
  readonly temporary: string;
}

export function directoriesOf(name: string): ClusterDirectories {
  const root = join(stateDirectory, 'clusters', name);
  return {
    root,
    logs: join(root, 'logs'),
    pki: join(root, 'pki'),
    kubeconfigs: join(root, 'kubeconfigs'),
    temporary: join(root, 'tmp'),
  };
}

/** Names of the clusters that were started, even if not completely. */
export async function startedClusters(): Promise<string[]> {
  const directory = join(stateDirectory, 'clusters');
  return existsSync(directory) ? readdir(directory) : [];
}

/** Writes a hosts file with the names of the hub to this directory. */
export async function writeHosts(directory: string): Promise<string> {
  const path = join(directory, 'hosts');
  const hub = Object.values(entrypoints).map(({ address, name }) => `${address} ${name}`);
  await writeFile(path, ['127.0.0.1 localhost', ...hub, ''].join('\n'));
  return path;
}
