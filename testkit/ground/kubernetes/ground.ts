import { existsSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Report } from '../go-build.ts';
import { clustersWithCgroups, removeCgroups } from './cgroups.ts';
import { ClusterPki } from './cluster-pki.ts';
import { startCluster } from './cluster.ts';
import { importImages } from './node-programs.ts';
import {
  planOf,
  startedCluster,
  type ClusterPrograms,
  type StartedCluster,
} from './started-cluster.ts';
import type { ImageFile } from './image-builder.ts';
import { buildOwnImage } from './images.ts';
import type { CallOptions, Manifest } from './kubectl.ts';
import { findClusterPrograms, prepareMaterials, type Materials } from './materials.ts';
import { entranceOf, findNamespaces, removeNamespaces } from './namespaces.ts';
import { startIngress } from './ingress.ts';
import { startLoadBalancer } from './load-balancer.ts';
import { joinHub, startOcmHub } from './ocm.ts';
import { kill, killNamed, namedRuns, processesWhere, startAgain } from './processes.ts';
import type { Programs } from './programs.ts';
import { makeSegment, removeCable, setCable } from './segment.ts';
import { noGroundMessage, StartingGround } from './starting.ts';
import { directoriesOf, fabricDirectory, startedClusters, stateDirectory } from './state.ts';
import { addressesOf, entrypoints, hubPlan, managedPlans, type ClusterPlan } from './topology.ts';

const remainsTimeoutMs = 5000;

/** One running cluster. */
export interface GroundCluster {
  readonly name: string;
  readonly plan: ClusterPlan;
  /** Address of its node on the segment. */
  readonly address: string;
  /** An administrator's kubeconfig, which works only inside the cluster's namespaces. */
  readonly kubeconfigFile: string;
  /** The CA of its API server. */
  readonly caFile: string;
  /** Directory of its programs' logs. */
  readonly logs: string;
  kubectl(args: readonly string[], options?: CallOptions): Promise<string>;
  /** `kubectl get ARGS -o json`, parsed. */
  get<T = unknown>(...args: string[]): Promise<T>;
  /** Server-side apply, forced. */
  apply(manifest: Manifest, args?: readonly string[]): Promise<string>;
  /** Runs a program on the node and returns its stdout. @throws Error the exit code is not 0 */
  run(command: string, args: readonly string[], input?: string): Promise<string>;
  /** The command line that runs a program on the node, for `startProgram`. */
  enter(command: string, args: readonly string[]): EnteredCommand;
  loadImages(images: readonly ImageFile[]): Promise<void>;
  /** Kills a program of the node, such as `kube-apiserver`. Its log files have the names. */
  kill(program: string): Promise<void>;
  /** Starts a killed program again, this time with `more` arguments after its original ones. */
  startAgain(program: string, more?: readonly string[]): Promise<void>;
  /** Disconnects the node from the network, or connects it again. */
  setConnected(connected: boolean): Promise<void>;
}

/** The options for `startProgram`. */
export interface EnteredCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Ground {
  readonly hub: GroundCluster;
  readonly managed: readonly GroundCluster[];
  readonly programs: Programs;
}

/** The running test clusters. @throws Error no clusters run */
export async function connectGround(): Promise<Ground> {
  const programs = await findClusterPrograms();
  const clusters = await Promise.all(
    (await startedClusters()).map(async (name) => handleOf(await reopen(name, programs))),
  );
  const hub = clusters.find(({ name }) => name === hubPlan.name);
  if (hub === undefined) throw new Error(await noGroundMessage());
  const managed = clusters
    .filter((cluster) => cluster !== hub)
    .sort((one, other) => one.plan.index - other.plan.index);
  return { hub, managed, programs: programs.go };
}

/** Starts the hub and its two managed clusters. After a failure, started programs keep running. */
export async function groundUp(reportLine: Report): Promise<void> {
  const taken = `a ground is up already (${stateDirectory}): npm run ground -- down`;
  if (existsSync(stateDirectory)) throw new Error(taken);
  using starting = await StartingGround.begin(reportLine);
  const { report } = starting;
  const materials = await prepareMaterials(report);
  // Preparation may take minutes, in which another process may have started the clusters.
  await mkdir(stateDirectory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? new Error(taken, { cause: error }) : error;
  });
  const ownImage = buildOwnImage(materials.builder, stateDirectory, report);
  // Awaited below, when there are nodes to load the image into.
  ownImage.catch(() => {});
  const shown = Object.values(entrypoints).map(({ address }) => address);
  report(`the hub shows itself at ${shown.join(', ')}`);
  await makeSegment({ pause: materials.programs.go.pause, tinyproxy: materials.tinyproxy });
  const hub = startHub(materials, report);
  const managed = managedPlans.map((plan) => startManaged(plan, hub, materials, report));
  const clusters = await Promise.all([hub, ...managed]);
  const image = await ownImage;
  await Promise.all(clusters.map((cluster) => importImages(cluster, [image])));
  report(`${image.reference} is on every node`);
}

/** Starts one more managed cluster beside those that run, registered like them. */
export async function addManagedCluster(plan: ClusterPlan, report: Report): Promise<GroundCluster> {
  const materials = await prepareMaterials(report);
  const hub = reopen(hubPlan.name, materials.programs);
  const cluster = await startManaged(plan, hub, materials, report);
  const image = join(stateDirectory, 'culvert.tar');
  if (existsSync(image)) await importImages(cluster, [{ reference: '', path: image }]);
  return handleOf(cluster);
}

/** Builds our image from the checkout and loads it into every node. */
export async function reloadOwnImage(report: Report): Promise<void> {
  const { builder } = await prepareMaterials(report);
  const { hub, managed } = await connectGround();
  const image = await buildOwnImage(builder, stateDirectory, report);
  await Promise.all([hub, ...managed].map((cluster) => cluster.loadImages([image])));
  report(`${image.reference} is on every node; pods that run keep theirs`);
}

/** Ends one cluster. The hub is not informed. */
export async function removeCluster(name: string): Promise<void> {
  const { root } = directoriesOf(name);
  if (existsSync(join(root, 'plan.json'))) await removeCable(await planOf(name));
  await removeNamespaces(root);
  await removeCgroups(name);
  await rm(root, { recursive: true, force: true });
}

/** Ends all clusters, also after an `up` that failed. @throws Error names what is left */
export async function groundDown(): Promise<void> {
  const names = new Set([...(await startedClusters()), ...(await clustersWithCgroups())]);
  await Promise.all([...names].map(removeCluster));
  if (await namedRuns(fabricDirectory, 'tinyproxy')) await killNamed(fabricDirectory, 'tinyproxy');
  await removeNamespaces(fabricDirectory);
  // An interrupted `up` may have made namespaces that it did not record.
  for (const holder of await unrecordedHolders()) await kill(holder);
  await rm(stateDirectory, { recursive: true, force: true });
  // Processes that entered the namespaces from outside end shortly after them.
  const deadline = Date.now() + remainsTimeoutMs;
  let left = await remains();
  while (left.length > 0 && Date.now() < deadline) {
    await sleep(100);
    left = await remains();
  }
  if (left.length > 0) throw new Error(`something is left:\n${left.join('\n')}`);
}

function unrecordedHolders() {
  const own = `${stateDirectory}/`;
  return processesWhere(([program = '', directory = '']) => {
    return program.endsWith('/pause') && `${directory}/`.startsWith(own);
  });
}

/** Parts of the test clusters that should have gone away. */
async function remains(): Promise<string[]> {
  const own = `${stateDirectory}/`;
  const ours = await processesWhere((words) => words.some((word) => word.includes(own)));
  const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n');
  return [
    ...ours.map(({ pid, commandLine }) => `process ${pid}: ${commandLine.join(' ').slice(0, 200)}`),
    ...mounts.filter((line) => line.includes(own)).map((line) => `mount ${line}`),
    ...(await clustersWithCgroups()).map((name) => `cgroups of ${name}`),
  ];
}

async function startHub(
  { programs, images, nginx }: Materials,
  report: Report,
): Promise<StartedCluster> {
  const progress = (line: string) => report(`${hubPlan.name} ${line}`);
  const hub = await startCluster(hubPlan, programs, images, progress);
  await startLoadBalancer(hub, programs.go);
  await startIngress(hub, programs.go, nginx);
  await startOcmHub(hub, programs.go, progress);
  return hub;
}

async function startManaged(
  plan: ClusterPlan,
  hub: Promise<StartedCluster>,
  { programs, images }: Materials,
  report: Report,
): Promise<StartedCluster> {
  const progress = (line: string) => report(`${plan.name} ${line}`);
  const cluster = await startCluster(plan, programs, images, progress);
  await joinHub(cluster, await hub, programs.go, progress);
  return cluster;
}

/** A cluster that another process started. */
async function reopen(name: string, programs: ClusterPrograms): Promise<StartedCluster> {
  const { root, pki } = directoriesOf(name);
  const namespaces = await findNamespaces(root);
  if (namespaces === undefined) throw new Error(`${name} does not run: npm run ground -- down`);
  const plan = await planOf(name);
  return startedCluster(
    plan,
    await ClusterPki.open(pki, `${name}-ca`),
    entranceOf(namespaces),
    programs,
  );
}

function handleOf(cluster: StartedCluster): GroundCluster {
  const { plan, directories, kubectl, entrance } = cluster;
  return {
    name: plan.name,
    plan,
    address: addressesOf(plan).node,
    kubeconfigFile: join(directories.kubeconfigs, 'admin'),
    caFile: cluster.pki.ca.cert,
    logs: directories.logs,
    kubectl: (args, options) => kubectl.run(args, options),
    get: (...args) => kubectl.get(...args),
    apply: (manifest, args) => kubectl.apply(manifest, args),
    run: cluster.run,
    enter: (command, args) => ({
      command: entrance.command,
      args: [...entrance.args, command, ...args],
      env: cluster.env,
    }),
    loadImages: (images) => importImages(cluster, images),
    kill: (program) => killNamed(directories.root, program),
    startAgain: (program, more) => startAgain(directories.root, program, more),
    setConnected: (connected) => setCable(plan, connected),
  };
}
