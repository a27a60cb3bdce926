import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { isMissing, type Missing } from '../cache.ts';
import {
  findDebianPackages,
  prepareDebianPackages,
  prepareDebianProgram,
  type DebianProgram,
  type DebianRoot,
} from '../debian-programs.ts';
import type { Report } from '../go-build.ts';
import { hasCgroups } from './cgroups.ts';
import type { ClusterPrograms } from './started-cluster.ts';
import { ImageBuilder, type ImageFile } from './image-builder.ts';
import { redisServerImage, systemImages } from './images.ts';
import { allPrograms, findPrograms, preparePrograms } from './programs.ts';

const nodePackages = ['containerd', 'runc', 'containernetworking-plugins', 'nftables'];
const commands = ['unshare', 'nsenter', 'ip', 'mount', 'apt-get', 'dpkg-deb', 'go'];

/** The programs and images of the test clusters. */
export interface Materials {
  readonly programs: ClusterPrograms;
  readonly tinyproxy: DebianProgram;
  readonly nginx: DebianProgram;
  readonly builder: ImageBuilder;
  /** For every node. */
  readonly images: readonly ImageFile[];
}

/** The reason why this machine cannot run the test clusters, or undefined. */
export function unfitness(): string | undefined {
  if (process.platform !== 'linux') return 'the clusters are made of namespaces of Linux';
  if (process.getuid?.() !== 0) return 'it makes namespaces, cgroups and mounts: run it as root';
  const path = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  const lacking = commands.filter((name) => !path.some((place) => existsSync(join(place, name))));
  if (lacking.length > 0) return `there is no ${lacking.join(', no ')} on the PATH`;
  if (!hasCgroups()) return 'its nodes need cgroups of version 1, one hierarchy per controller';
  return undefined;
}

/** Builds and fetches what is not cached. Takes 12 minutes on two cores with an empty cache. */
export async function prepareMaterials(report: Report): Promise<Materials> {
  const go = present(await preparePrograms(allPrograms, report));
  const node = present(await prepareDebianPackages(nodePackages, report));
  const tinyproxy = present(await prepareDebianProgram('tinyproxy', report));
  const nginx = present(await prepareDebianProgram('nginx', report));
  const redis = present(await prepareDebianProgram('redis-server', report));
  const builder = present(await ImageBuilder.prepare(report));
  const images = [...(await systemImages(builder, go)), await redisServerImage(builder, redis)];
  return { programs: { go, node }, tinyproxy, nginx, builder, images };
}

/** The programs of running test clusters. */
export async function findClusterPrograms(): Promise<ClusterPrograms> {
  const go = present(await findPrograms(allPrograms));
  const node: DebianRoot = present(await findDebianPackages(nodePackages));
  return { go, node };
}

function present<T extends object>(found: T | Missing): T {
  if (!isMissing(found)) return found;
  throw new Error(`${found.missing} is missing: ${found.reason}`);
}
