import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findNamespaces } from './namespaces.ts';
import { connectGround, type GroundCluster } from './ground.ts';
import { namedRuns } from './processes.ts';
import { noGroundMessage, startingStep } from './starting.ts';
import { directoriesOf, startedClusters } from './state.ts';

interface Conditions {
  readonly status?: { readonly conditions?: readonly { type: string; status: string }[] };
}

/** One line for each started cluster: its running programs, and its state on the hub. */
export async function statusTable(): Promise<string> {
  const names = await startedClusters();
  if (names.length === 0) return noGroundMessage();
  const step = await startingStep();
  const lines = await Promise.all(names.map(statusOf));
  return [...(step === undefined ? [] : [`the ground is starting: ${step}`]), ...lines].join('\n');
}

async function statusOf(name: string): Promise<string> {
  const { root } = directoriesOf(name);
  if ((await findNamespaces(root)) === undefined) return `${name}: its namespaces are gone`;
  const programs = await programsOf(root);
  const ended = programs.filter(({ runs }) => !runs).map((program) => program.name);
  const processes =
    ended.length === 0
      ? `${programs.length} programs run`
      : `${ended.join(', ')} ended, ${programs.length - ended.length} programs run`;
  const facts = await conditionsOf(name).catch((error: unknown) => {
    // Only the server's answer, without the command line of kubectl.
    return [
      String(error)
        .replace(/^.* ended with code \d+: /s, '')
        .trim(),
    ];
  });
  return `${name}: ${[processes, ...facts].join('; ')}`;
}

async function programsOf(root: string): Promise<{ name: string; runs: boolean }[]> {
  const files = await readdir(join(root, 'programs')).catch(() => []);
  const names = files.map((file) => file.replace(/\.json$/, ''));
  return Promise.all(names.map(async (name) => ({ name, runs: await namedRuns(root, name) })));
}

async function conditionsOf(name: string): Promise<string[]> {
  const { hub, managed } = await connectGround();
  const cluster = [hub, ...managed].find((each) => each.name === name);
  if (cluster === undefined) return ['it is not part of the ground'];
  const node = await trueConditions(cluster, 'node', name);
  const facts = [`node ${node.includes('Ready') ? 'Ready' : 'not ready'}`];
  if (cluster === hub) return facts;
  const registered = await trueConditions(hub, 'managedcluster', name);
  const known = [
    'HubAcceptedManagedCluster',
    'ManagedClusterJoined',
    'ManagedClusterConditionAvailable',
  ];
  return [...facts, `on the hub ${known.filter((each) => registered.includes(each)).join(', ')}`];
}

async function trueConditions(
  cluster: GroundCluster,
  kind: string,
  name: string,
): Promise<string[]> {
  const { status } = await cluster.get<Conditions>(kind, name);
  return (status?.conditions ?? [])
    .filter((each) => each.status === 'True')
    .map(({ type }) => type);
}
