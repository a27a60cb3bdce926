import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { waitFor } from './wait.ts';

const root = '/sys/fs/cgroup';
const hierarchies = [
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'devices',
  'freezer',
  'blkio',
  'pids',
  'systemd',
];
const prefix = 'culvert-ground-';

/** Whether this machine has cgroups of version 1, one hierarchy per controller. Nodes need them. */
export function hasCgroups(): boolean {
  return hierarchies.every((hierarchy) => existsSync(join(root, hierarchy)));
}

/** The cgroup root of kubelet. */
export function cgroupOf(cluster: string): string {
  return `/${prefix}${cluster}`;
}

export async function makeCgroups(cluster: string): Promise<void> {
  for (const hierarchy of hierarchies) {
    await mkdir(join(root, hierarchy, cgroupOf(cluster)), { recursive: true });
  }
  // A new cpuset is empty, and no process can run in an empty cpuset.
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    const all = await readFile(join(root, 'cpuset', file), 'utf8');
    await writeFile(join(root, 'cpuset', cgroupOf(cluster), file), all.trim());
  }
}

/** Removes the cgroups and all below. Their processes may still be ending. */
export async function removeCgroups(cluster: string): Promise<void> {
  for (const hierarchy of hierarchies) {
    const directory = join(root, hierarchy, cgroupOf(cluster));
    await waitFor(
      async () => {
        await removeTree(directory);
        return true;
      },
      { what: `removal of ${directory}`, timeoutMs: 10_000 },
    );
  }
}

/** Names of clusters that have cgroups. */
export async function clustersWithCgroups(): Promise<string[]> {
  const names = new Set<string>();
  for (const hierarchy of hierarchies) {
    for (const name of await readdir(join(root, hierarchy)).catch(() => [])) {
      if (name.startsWith(prefix)) names.add(name.slice(prefix.length));
    }
  }
  return [...names];
}

async function removeTree(directory: string): Promise<void> {
  if (!existsSync(directory)) return;
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeTree(join(directory, entry.name));
  }
  await rmdir(directory);
}
