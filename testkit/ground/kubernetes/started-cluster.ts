import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DebianRoot } from '../debian-programs.ts';
import type { ClusterPki } from './cluster-pki.ts';
import { writeKubeconfig } from './kubeconfig.ts';
import { cacheBeside, Kubectl, type Entrance } from './kubectl.ts';
import { baseEnvironment } from './namespaces.ts';
import { startNamed } from './processes.ts';
import type { Programs } from './programs.ts';
import { run } from './run.ts';
import { directoriesOf, type ClusterDirectories } from './state.ts';
import { addressesOf, apiPort, type ClusterPlan } from './topology.ts';

export interface ClusterPrograms {
  readonly go: Programs;
  /** containerd, runc, the CNI plugins and nft. */
  readonly node: DebianRoot;
}

export type Progress = (line: string) => void;

/** A running cluster, and how to start more programs in it. */
export interface StartedCluster {
  readonly plan: ClusterPlan;
  readonly directories: ClusterDirectories;
  readonly pki: ClusterPki;
  readonly kubectl: Kubectl;
  readonly entrance: Entrance;
  /** The environment of programs in its namespaces. PATH leads to the node's programs. */
  readonly env: Readonly<Record<string, string>>;
  /** Starts a daemon in the cluster's namespaces. */
  readonly start: (name: string, command: string, args: readonly string[]) => Promise<void>;
  /** Runs a program in the cluster's namespaces to its end. */
  readonly run: (command: string, args: readonly string[], input?: string) => Promise<string>;
  /** A kubeconfig for the cluster's own API, used inside its namespaces. */
  readonly kubeconfig: (name: string, user: string, groups?: readonly string[]) => Promise<string>;
}

/** A cluster whose namespaces exist, for starting programs. */
export function startedCluster(
  plan: ClusterPlan,
  pki: ClusterPki,
  entrance: Entrance,
  { go, node }: ClusterPrograms,
): StartedCluster {
  const directories = directoriesOf(plan.name);
  const admin = join(directories.kubeconfigs, 'admin');
  const env = {
    ...baseEnvironment,
    ...node.env,
    ...cacheBeside(admin),
    TMPDIR: directories.temporary,
  };
  return {
    plan,
    directories,
    pki,
    entrance,
    env,
    kubectl: new Kubectl(go.kubectl, admin, entrance),
    start: (name, command, args) =>
      startNamed({
        name,
        directory: directories.root,
        command,
        args,
        entrance,
        env,
        logFile: join(directories.logs, `${name}.log`),
      }),
    run: (command, args, input) =>
      run({
        command: entrance.command,
        args: [...entrance.args, command, ...args],
        env,
        ...(input === undefined ? {} : { input }),
      }),
    kubeconfig: async (name, user, groups = []) =>
      writeKubeconfig(join(directories.kubeconfigs, name), {
        url: `https://${addressesOf(plan).node}:${apiPort}`,
        caFile: pki.ca.cert,
        credentials: await pki.issue({ name, user, groups }),
      }),
  };
}

/** The plan that a cluster was started with. */
export async function planOf(name: string): Promise<ClusterPlan> {
  const text = await readFile(join(directoriesOf(name).root, 'plan.json'), 'utf8');
  return JSON.parse(text) as ClusterPlan;
}
