import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { isMissing, type Missing } from '../../../testkit/ground/cache.ts';
import { findGoBuild, prepareGoBuild, type GoBuild } from '../../../testkit/ground/go-build.ts';
import {
  findUpstreamPrograms,
  prepareUpstreamPrograms,
  type UpstreamPrograms,
} from '../../../testkit/ground/go-programs.ts';
import {
  findPrograms,
  preparePrograms,
  type Programs,
} from '../../../testkit/ground/kubernetes/programs.ts';
import { run } from '../../../testkit/ground/kubernetes/run.ts';
import { node } from '../../../testkit/world/world.ts';

const kubernetesPrograms = ['etcd', 'kube-apiserver', 'kubectl'] as const;

const podsBuild: GoBuild = {
  title: 'the pods of the egress tests',
  name: 'e2e-egress',
  moduleDirectory: fileURLToPath(new URL('../go', import.meta.url)),
  packages: { pods: './pods' },
  duration: 'about half a minute',
};

/** The real programs of these tests. */
export interface EgressPrograms {
  readonly kubernetes: Programs<(typeof kubernetesPrograms)[number]>;
  readonly upstream: UpstreamPrograms;
  /** The webhook, the aggregated API, the kubelet and the pod. */
  readonly pods: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    /** The path of culvert's program as it is released: one file that starts faster than sources. */
    readonly culvertProgram: string;
  }
}

/** Builds the programs that the tests need. With a warm cache it takes a second. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const report = (line: string) => console.log(`e2e: ${line}`);
  present(await preparePrograms(kubernetesPrograms, report));
  present(await prepareUpstreamPrograms(report));
  present(await prepareGoBuild(podsBuild, report));
  const directory = await mkdtemp(join(tmpdir(), 'culvert-egress-program-'));
  const build = fileURLToPath(new URL('../../../scripts/build.ts', import.meta.url));
  await run({ command: node, args: [build, directory] });
  project.provide('culvertProgram', join(directory, 'culvert.mjs'));
  return () => rm(directory, { recursive: true, force: true });
}

/** @throws Error `setup` has not built them */
export async function egressPrograms(): Promise<EgressPrograms> {
  return {
    kubernetes: present(await findPrograms(kubernetesPrograms)),
    upstream: present(await findUpstreamPrograms()),
    pods: join(present(await findGoBuild(podsBuild)), 'pods'),
  };
}

function present<T extends object | string>(found: T | Missing): T {
  if (typeof found === 'string' || !isMissing(found)) return found;
  throw new Error(`${found.missing} is missing: ${found.reason}`);
}
