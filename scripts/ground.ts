// npm run ground -- COMMAND: a hub cluster and two managed clusters on this machine, for npm run e2e and for trying things
// out. testkit/ground/kubernetes/topology.ts describes them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  connectGround,
  groundDown,
  groundUp,
  reloadOwnImage,
  type EnteredCommand,
  type GroundCluster,
} from '../testkit/ground/kubernetes/ground.ts';
import { unfitness } from '../testkit/ground/kubernetes/materials.ts';
import { statusTable } from '../testkit/ground/kubernetes/status.ts';

const usage = `usage: npm run ground -- COMMAND
  up                    start a hub and two managed clusters that are registered with it
  status                show what runs, also while it starts
  k CLUSTER ARGS...     run kubectl in hub, cluster1 or 2nd-cluster
  helm ARGS...          run helm on the hub
  in CLUSTER COMMAND... run a command in the network and the mounts of a cluster's node
  image                 build our image again and load it into every node
  down                  stop and remove everything`;

const proxyFile = 'testkit/ground/kubernetes/second-cluster-proxy.yaml';
const nextSteps = `
The clusters are in networks of their own. \`k\` and \`helm\` run kubectl and helm there:

  npm run ground -- k hub get managedclusters
  npm run ground -- helm install cluster-proxy charts/cluster-proxy -n cluster-proxy --create-namespace \\
    --set registry=localhost --set image=culvert --set tag=ground --set proxyServer.port=443 \\
    --set proxyServer.entrypointLoadBalancer=true

2nd-cluster reaches the hub only through an HTTP proxy. Its agent connects after this command:

  npm run ground -- k hub apply --server-side -f ${proxyFile}

Remove this release before \`npm run e2e\`. The kubeconfigs, for use inside those networks:`;

const startedAt = Date.now();
const report = (line: string) => {
  const elapsed = ((Date.now() - startedAt) / 1000).toFixed(1).padStart(6);
  console.log(`${elapsed} s  ${line}`);
};

const [command, name, ...rest] = process.argv.slice(2);
process.exitCode = await main().catch((error: unknown) => {
  console.error(`ground: ${error instanceof Error ? error.message : String(error)}`);
  if (error instanceof Error && error.cause !== undefined) console.error(error.cause);
  return 1;
});

async function main(): Promise<number> {
  const unfit = unfitness();
  if (unfit !== undefined) throw new Error(`this machine cannot carry it: ${unfit}`);
  switch (command) {
    case 'up':
      await groundUp(report);
      report('the ground is up: npm run ground -- status');
      console.log(await whatNext());
      return 0;
    case 'down':
      await groundDown();
      report('nothing is left');
      return 0;
    case 'status':
      console.log(await statusTable());
      return 0;
    case 'image':
      await reloadOwnImage(report);
      return 0;
    case 'k': {
      const { hub, managed, programs } = await connectGround();
      const cluster = find([hub, ...managed], name);
      return attach(enterHere(cluster, programs.kubectl, rest));
    }
    case 'helm': {
      const { hub, programs } = await connectGround();
      const args = [name, ...rest].filter((arg) => arg !== undefined);
      return attach(enterHere(hub, programs.helm, args));
    }
    case 'in': {
      const { hub, managed } = await connectGround();
      const [program, ...args] = rest;
      if (program === undefined) throw new Error(usage);
      return attach(find([hub, ...managed], name).enter(program, args));
    }
    default:
      console.error(usage);
      return 2;
  }
}

/** Runs kubectl or helm on the node. Paths in `args` are relative to the caller's directory. */
function enterHere(
  cluster: GroundCluster,
  program: string,
  args: readonly string[],
): EnteredCommand {
  const settings = [`--chdir=${process.cwd()}`, `KUBECONFIG=${cluster.kubeconfigFile}`];
  return cluster.enter('env', [...settings, program, ...args]);
}

async function whatNext(): Promise<string> {
  const { hub, managed } = await connectGround();
  const files = [hub, ...managed].map((each) => `  ${each.name}: ${each.kubeconfigFile}`);
  return [nextSteps, '', ...files].join('\n');
}

function find(clusters: readonly GroundCluster[], name: string | undefined): GroundCluster {
  const found = clusters.find((cluster) => cluster.name === name);
  if (found !== undefined) return found;
  const names = clusters.map((cluster) => cluster.name).join(', ');
  throw new Error(
    `${name === undefined ? 'name a cluster' : `there is no cluster ${name}`}: ${names}`,
  );
}

async function attach({ command, args, env }: EnteredCommand): Promise<number> {
  const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, ...env } });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
