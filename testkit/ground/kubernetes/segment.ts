import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DebianProgram } from '../debian-programs.ts';
import {
  baseEnvironment,
  entranceOf,
  findNamespaces,
  makeNetworkNamespace,
  type Namespaces,
} from './namespaces.ts';
import { startNamed } from './processes.ts';
import { run } from './run.ts';
import { fabricDirectory, writeHosts } from './state.ts';
import { addressesOf, egressProxy, entrypoints, segment, type ClusterPlan } from './topology.ts';

export interface SegmentPrograms {
  readonly pause: string;
  readonly tinyproxy: DebianProgram;
}

/** Makes the network segment: a bridge in its own namespace, and the HTTP proxy. */
export async function makeSegment({ pause, tinyproxy }: SegmentPrograms): Promise<Namespaces> {
  await mkdir(join(fabricDirectory, 'logs'), { recursive: true });
  const namespaces = await makeNetworkNamespace({
    directory: fabricDirectory,
    logFile: join(fabricDirectory, 'logs/holder.log'),
    pause,
  });
  await ip(namespaces, [
    'link add bridge0 type bridge',
    `addr add ${segment.gateway}/${segment.prefixLength} dev bridge0`,
    'link set bridge0 up',
  ]);
  const configuration = join(fabricDirectory, 'tinyproxy.conf');
  await writeFile(
    configuration,
    [
      `Port ${egressProxy.port}`,
      `Listen ${egressProxy.address}`,
      `Allow ${segment.gateway}/${segment.prefixLength}`,
      `BasicAuth ${egressProxy.user} ${egressProxy.password}`,
      'ConnectPort 443',
      'Timeout 600',
      'MaxClients 200',
      'LogLevel Connect',
    ].join('\n'),
    { mode: 0o600 },
  );
  const hosts = await writeHosts(fabricDirectory);
  // The proxy also resolves names.
  const script = 'mount --bind "$0" /etc/hosts; exec "$@"';
  await startNamed({
    name: 'tinyproxy',
    directory: fabricDirectory,
    command: 'unshare',
    args: [
      ...['--mount', '--propagation=private', 'bash', '-ec', script, hosts],
      ...[tinyproxy.command, ...tinyproxy.args, '-d', '-c', configuration],
    ],
    entrance: entranceOf(namespaces, 'network'),
    env: { ...baseEnvironment, ...tinyproxy.env },
    logFile: join(fabricDirectory, 'logs/tinyproxy.log'),
  });
  return namespaces;
}

/** Makes the veth pair of a cluster. One end is on the bridge, the other is eth0 of the node. */
export async function connectToSegment(plan: ClusterPlan, node: Namespaces): Promise<void> {
  const fabric = await findNamespaces(fabricDirectory);
  if (fabric === undefined) throw new Error('there is no segment to connect to');
  const { port, cable, node: address } = addressesOf(plan);
  await ip(fabric, [
    `link add ${cable} type veth peer name ${port}`,
    `link set ${port} master bridge0 up`,
    `link set ${cable} netns ${node.holder.pid}`,
  ]);
  const shown = Object.values(plan.name === 'hub' ? entrypoints : {});
  await ip(node, [
    `link set ${cable} name eth0`,
    `addr add ${address}/${segment.prefixLength} dev eth0`,
    ...shown.map((entrypoint) => `addr add ${entrypoint.address}/32 dev eth0`),
    'link set eth0 up',
    `route add default via ${segment.gateway}`,
  ]);
}

/** Sets the link of a veth pair down or up. */
export async function setCable(plan: ClusterPlan, up: boolean): Promise<void> {
  const fabric = await findNamespaces(fabricDirectory);
  if (fabric === undefined) throw new Error('there is no segment');
  await ip(fabric, [`link set ${addressesOf(plan).port} ${up ? 'up' : 'down'}`]);
}

/** Removes the veth pair of a cluster, if it exists. */
export async function removeCable(plan: ClusterPlan): Promise<void> {
  const fabric = await findNamespaces(fabricDirectory);
  if (fabric === undefined) return;
  const { command, args } = entranceOf(fabric, 'network');
  const links = await run({ command, args: [...args, 'ip', '-oneline', 'link'] });
  const { port } = addressesOf(plan);
  if (links.includes(` ${port}@`)) await ip(fabric, [`link del ${port}`]);
}

async function ip(namespaces: Namespaces, lines: readonly string[]): Promise<void> {
  const { command, args } = entranceOf(namespaces, 'network');
  await run({ command, args: [...args, 'ip', '-batch', '-'], input: `${lines.join('\n')}\n` });
}
