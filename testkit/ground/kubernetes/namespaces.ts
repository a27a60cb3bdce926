import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entrance } from './kubectl.ts';
import { childrenOf, isAlive, kill, startDaemon, type ProcessRecord } from './processes.ts';
import { waitFor } from './wait.ts';

/** Namespaces, held open by one process. Where there is a pid namespace that process is its first, and takes all with it. */
export interface Namespaces {
  /** Directory of the files that tell of them. */
  readonly directory: string;
  readonly holder: ProcessRecord;
}

export interface NamespaceOptions {
  readonly directory: string;
  readonly logFile: string;
  /** A program that does nothing, for ever. */
  readonly pause: string;
}

/** A network namespace and nothing else. */
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

/** All that a node needs to believe that it is a machine of its own, except the file system below /. */
export async function makeNodeNamespaces(
  options: NamespaceOptions & { readonly hostname: string; readonly hosts: string },
): Promise<Namespaces> {
  const { directory, logFile, pause, hostname, hosts } = options;
  await mkdir(directory, { recursive: true });
  const ready = join(directory, 'ready');
  // kubelet insists on three settings of the machine; it finds them in files of ours, and the machine stays as it is.
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

/** Those that were recorded in this directory, if they still are there. */
export async function findNamespaces(directory: string): Promise<Namespaces | undefined> {
  const file = join(directory, 'holder.json');
  if (!existsSync(file)) return undefined;
  const holder = JSON.parse(await readFile(file, 'utf8')) as ProcessRecord;
  return (await isAlive(holder)) ? { directory, holder } : undefined;
}

/** Ends the process that holds them; where there is a pid namespace, all processes in it end. */
export async function removeNamespaces(directory: string): Promise<void> {
  const namespaces = await findNamespaces(directory);
  if (namespaces !== undefined) await kill(namespaces.holder);
  await rm(join(directory, 'holder.json'), { force: true });
}

/** Comes before a command line that is to run in them. */
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
