import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  findGoBuild,
  prepareGoBuild,
  type GoBuild,
  type Report,
} from '../../../testkit/ground/go-build.ts';
import { isMissing } from '../../../testkit/ground/cache.ts';
import type { Ground, GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import {
  filesImage,
  ImageBuilder,
  type ImageFile,
} from '../../../testkit/ground/kubernetes/image-builder.ts';
import { run } from '../../../testkit/ground/kubernetes/run.ts';
import { agentDeploymentName } from './deployments.ts';
import { addon, hubNamespace, installNamespace } from './names.ts';

/** The newest that the Go module proxy has; its chart lies in the module. */
export const upstreamVersion = 'v0.10.0';
const upstream = 'open-cluster-management.io/cluster-proxy';
const konnectivity = 'sigs.k8s.io/apiserver-network-proxy';
/** What upstream's chart installs by itself. */
const image = `quay.io/open-cluster-management/cluster-proxy:${upstreamVersion}`;

const build: GoBuild = {
  title: `Cluster Proxy ${upstreamVersion}`,
  name: 'cluster-proxy',
  moduleDirectory: fileURLToPath(
    new URL('../../../testkit/ground/kubernetes/go/ocm', import.meta.url),
  ),
  // Keys are the program names in the charts. User-server and service proxy are not needed.
  packages: {
    manager: `${upstream}/cmd/addon-manager`,
    agent: `${upstream}/cmd/addon-agent`,
    'proxy-server': `${konnectivity}/cmd/server`,
    'proxy-agent': `${konnectivity}/cmd/agent`,
  },
  duration: 'half a minute',
};

/** Builds upstream's programs and their image, unless both are in the cache. */
export async function prepareUpstream(report: Report): Promise<void> {
  const directory = await prepareGoBuild(build, report);
  if (typeof directory !== 'string') {
    throw new Error(`${directory.missing} is missing: ${directory.reason}`);
  }
  await imageOf(directory, report);
}

/** Upstream's chart as it was released, in the module that the programs were built from. */
export async function upstreamChart(): Promise<string> {
  const args = ['mod', 'download', '-json', upstream];
  const text = await run({ command: 'go', args, cwd: build.moduleDirectory, env: { GOFLAGS: '' } });
  const { Dir, Version } = JSON.parse(text) as { Dir: string; Version: string };
  if (Version !== upstreamVersion) throw new Error(`go.mod has ${upstream} ${Version}`);
  return join(Dir, 'charts/cluster-proxy');
}

/** Gives every node upstream's image, under the name by which the chart asks for it. */
export async function loadUpstream({ hub, managed }: Ground): Promise<void> {
  const directory = await findGoBuild(build);
  if (typeof directory !== 'string') {
    throw new Error(`${directory.missing} is missing: ${directory.reason}`);
  }
  const file = await imageOf(directory, () => {});
  await Promise.all([hub, ...managed].map((cluster) => cluster.loadImages([file])));
}

async function imageOf(directory: string, report: Report): Promise<ImageFile> {
  const builder = await ImageBuilder.prepare(report);
  if (isMissing(builder)) throw new Error(`${builder.missing} is missing: ${builder.reason}`);
  return filesImage(builder, {
    reference: image,
    files: Object.fromEntries(
      Object.keys(build.packages).map((name) => [name, join(directory, name)]),
    ),
    // A numeric user, because the pods require runAsNonRoot and name no user.
    instructions: ['USER 65532:65532'],
  });
}

/** Ends upstream's manager and waits until it has: what docs/migration.md begins with. */
export async function stopManager(hub: GroundCluster): Promise<void> {
  const inNamespace = ['-n', hubNamespace];
  const deployment = 'deployment/cluster-proxy-addon-manager';
  await hub.kubectl([...inNamespace, 'scale', deployment, '--replicas=0']);
  const pods = ['pod', '-l', 'component=cluster-proxy-manager'];
  await hub.kubectl([...inNamespace, 'wait', '--for=delete', ...pods, '--timeout=60s']);
}

/** Ends upstream's agents of a removed addon. By themselves they need half a minute. */
export async function endAgents(cluster: GroundCluster): Promise<void> {
  const inNamespace = ['-n', installNamespace];
  const deployment = `deployment/${agentDeploymentName}`;
  await cluster.kubectl([...inNamespace, 'wait', '--for=delete', deployment, '--timeout=60s']);
  const atOnce = ['--force', '--grace-period=0'];
  await cluster.kubectl([...inNamespace, 'delete', 'pods', '--all', ...atOnce]);
}

/** Removes what upstream leaves on a hub: see "What is left over" in docs/migration.md. */
export async function removeLeftOver(hub: GroundCluster): Promise<void> {
  const resources = 'clusterrolebinding,clusterrole';
  const name = 'cluster-proxy-addon-agent-tokenreview';
  await hub.kubectl(['delete', resources, name, '--ignore-not-found']);
  const definition = 'managedproxyserviceresolvers.proxy.open-cluster-management.io';
  await hub.kubectl(['delete', 'crd', definition, '--ignore-not-found']);
}

/** Removes what our manager made and upstream's does not know: see "Going back" there. */
export async function removeOurs(hub: GroundCluster): Promise<void> {
  const inNamespace = {
    secret: ['agent-ca', 'cluster-proxy-agent-signer', 'cluster-proxy-replica-key'],
    serviceaccount: ['cluster-proxy-proxy-server'],
    poddisruptionbudget: ['cluster-proxy'],
  };
  for (const [kind, names] of Object.entries(inNamespace)) {
    await hub.kubectl(['-n', hubNamespace, 'delete', kind, ...names, '--ignore-not-found']);
  }
  const ofAgents = ['-l', `open-cluster-management.io/addon-name=${addon}`];
  await hub.kubectl(['-n', hubNamespace, 'delete', 'rolebinding', ...ofAgents]);
  const resources = 'clusterrolebinding,clusterrole';
  const name = 'open-cluster-management:cluster-proxy:proxy-server';
  await hub.kubectl(['delete', resources, name, '--ignore-not-found']);
}
