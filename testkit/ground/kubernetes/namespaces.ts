import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entrance } from './kubectl.ts';
import { childrenOf, isAlive, kill, startDaemon, type ProcessRecord } from './processes.ts';
import { waitFor } from './wait.ts';

/**
 * Namespaces that one process holds open. In a pid namespace, it is the first process, and
 * its end ends all processes.
 */
export interface Namespaces {
  /** The directory of the records of the namespaces. */
  readonly directory: string;
  readonly holder: ProcessRecord;
}

export interface NamespaceOptions {
  readonly directory: string;
  readonly logFile: string;
  /** A program that does nothing and never ends. */
  readonly pause: string;
}

/** Makes only a network namespace. */
export async function makeNetworkNamespace(options: NamespaceOptions): Promise<Namespaces> {
  const { directory, logFile, pause } = options;
  await mkdir(directory, { recursive: true });
  const ready = join(directory, 'ready');
  const script = `ip link set lo up; touch '${ready}'; exec '${pause}' '${directory}'`;
  const holder = await startDaemon({
    command: 'unshare',
    args: ['--net', 'bash', '-ec', script],
    env: baseEnvironment,
    logFile,
  });
  await untilReady(ready, holder, logFile);
  return record(directory, holder);
}

/** Makes all namespaces of a node. The node shares only the root file system with the machine. */
export async function makeNodeNamespaces(
  options: NamespaceOptions & { readonly hostname: string; readonly hosts: string },
): Promise<Namespaces> {
  const { directory, logFile, pause, hostname, hosts } = options;
  await mkdir(directory, { recursive: true });
  const ready = join(directory, 'ready');
  // kubelet requires three kernel settings. It finds them in our files, so the machine's settings
  // do not change.
  const sysctls = { panic: '10', panic_on_oops: '1', overcommit_memory: '1' };
  for (const [name, value] of Object.entries(sysctls)) {
    await writeFile(join(directory, name), `${value}\n`);
  }
  const script = `
mount --make-rslave /
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
mkdir -p /var/log/containers /var/lib/cni /var/lib/kubelet
for path in /var/log/containers /var/lib/cni /var/lib/kubelet; do mount -t tmpfs tmpfs "$path"; done
umount /sys/fs/cgroup/unified 2>/dev/null || true
mount --bind /proc/sys /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,ro /proc/sys
mount --bind '${directory}/panic' /proc/sys/kernel/panic
mount --bind '${directory}/panic_on_oops' /proc/sys/kernel/panic_on_oops
mount --bind '${directory}/overcommit_memory' /proc/sys/vm/overcommit_memory
mount --bind '${hosts}' /etc/hosts
hostname '${hostname}'
ip link set lo up
touch '${ready}'
exec '${pause}' '${directory}'`;
  const unshare = await startDaemon({
    command: 'unshare',
    args: [
      ...['--net', '--mount', '--uts', '--ipc', '--pid', '--fork', '--kill-child'],
      ...['--propagation', 'private', 'bash', '-ec', script],
    ],
    env: baseEnvironment,
    logFile,
  });
  await untilReady(ready, unshare, logFile);
  const [holder] = await childrenOf(unshare);
  if (holder === undefined) throw new Error(`the namespaces of ${hostname} have no first process`);
  return record(directory, holder);
}

/** The namespaces that were recorded in this directory, if they still exist. */
export async function findNamespaces(directory: string): Promise<Namespaces | undefined> {
  const file = join(directory, 'holder.json');
  if (!existsSync(file)) return undefined;
  const holder = JSON.parse(await readFile(file, 'utf8')) as ProcessRecord;
  return (await isAlive(holder)) ? { directory, holder } : undefined;
}

/** Ends the process that holds the namespaces. In a pid namespace, all processes end. */
export async function removeNamespaces(directory: string): Promise<void> {
  const namespaces = await findNamespaces(directory);
  if (namespaces !== undefined) await kill(namespaces.holder);
  await rm(join(directory, 'holder.json'), { force: true });
}

/** The prefix of a command line that runs in the namespaces. */
export function entranceOf({ holder }: Namespaces, which: 'network' | 'all' = 'all'): Entrance {
  const kinds = which === 'network' ? ['--net'] : ['--net', '--mount', '--uts', '--ipc', '--pid'];
  return { command: 'nsenter', args: [`--target=${holder.pid}`, ...kinds, '--'] };
}

export const baseEnvironment = {
  PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin:/usr/bin:/bin`,
  HOME: '/root',
};

async function record(directory: string, holder: ProcessRecord): Promise<Namespaces> {
  await writeFile(join(directory, 'holder.json'), JSON.stringify(holder));
  return { directory, holder };
}

async function untilReady(file: string, process: ProcessRecord, logFile: string): Promise<void> {
  await waitFor(
    async () => {
      if (existsSync(file)) return true;
      return (await isAlive(process))
        ? false
        : Promise.reject(new Error(await readFile(logFile, 'utf8')));
    },
    { what: 'namespaces', timeoutMs: 10_000, pollMs: 20 },
  );
  await rm(file);
}
