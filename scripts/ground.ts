// npm run ground -- up | down | status | image | k CLUSTER ARGUMENT... | in CLUSTER COMMAND...: a hub and two managed
// clusters on this machine, for npm run e2e and for looking around; docs in testkit/ground/kubernetes/topology.ts.
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
  up                    start a hub and two managed clusters, registered with it
  status                what runs
  k CLUSTER ARGS...     kubectl, on hub, cluster1 or 2nd-cluster
  in CLUSTER COMMAND... run a command where the node is
  image                 build our image again and give it to every node
  down                  end all of it`;

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
      const kubectl = [`--kubeconfig=${cluster.kubeconfigFile}`, ...rest];
      return attach(cluster.enter(programs.kubectl, kubectl));
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
