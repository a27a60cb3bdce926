import { existsSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { entrypoints } from './topology.ts';

/** Where a running ground keeps its files: one ground per machine. */
export const stateDirectory = '/tmp/culvert-ground';
export const fabricDirectory = join(stateDirectory, 'fabric');

/** The files of one cluster. */
export interface ClusterDirectories {
  readonly root: string;
  readonly logs: string;
  readonly pki: string;
  readonly kubeconfigs: string;
  /** Scratch of its programs. */
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

/** Names of the clusters that were started, also half. */
export async function startedClusters(): Promise<string[]> {
  const directory = join(stateDirectory, 'clusters');
  return existsSync(directory) ? readdir(directory) : [];
}

/** A file for /etc/hosts that knows the names of the hub, in this directory. */
export async function writeHosts(directory: string): Promise<string> {
  const path = join(directory, 'hosts');
  const hub = Object.values(entrypoints).map(({ address, name }) => `${address} ${name}`);
  await writeFile(path, ['127.0.0.1 localhost', ...hub, ''].join('\n'));
  return path;
}
