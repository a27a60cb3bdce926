import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { isMissing, type Missing } from '../../../testkit/ground/cache.ts';
import {
  findDebianProgram,
  prepareDebianProgram,
  type DebianProgram,
} from '../../../testkit/ground/debian-programs.ts';
import {
  findHttpPrograms,
  prepareHttpPrograms,
  type HttpPrograms,
} from '../../../testkit/ground/http/http-programs.ts';
import {
  findPythonClient,
  preparePythonClient,
} from '../../../testkit/ground/http/python-client.ts';
import {
  apiServerPrograms,
  findPrograms,
  preparePrograms,
  type ApiServerProgram,
  type Programs,
} from '../../../testkit/ground/kubernetes/programs.ts';
import { run } from '../../../testkit/ground/kubernetes/run.ts';
import { node } from '../../../testkit/world/world.ts';

const httpPrograms = ['informers', 'kubelet', 'oldKubectl', 'prometheus', 'argocd'] as const;

/** The real programs of these tests. */
export interface PlanePrograms {
  readonly kubernetes: Programs<ApiServerProgram>;
  readonly http: Pick<HttpPrograms, (typeof httpPrograms)[number]>;
  /** A Python interpreter that has the Kubernetes client. */
  readonly python: string;
  readonly redis: DebianProgram;
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
  present(await preparePrograms(apiServerPrograms, report));
  present(await prepareHttpPrograms(httpPrograms, report));
  present(await preparePythonClient(report));
  present(await prepareDebianProgram('redis-server', report));
  const directory = await mkdtemp(join(tmpdir(), 'culvert-http-program-'));
  const build = fileURLToPath(new URL('../../../scripts/build.ts', import.meta.url));
  await run({ command: node, args: [build, directory] });
  project.provide('culvertProgram', join(directory, 'culvert.mjs'));
  return () => rm(directory, { recursive: true, force: true });
}

/** @throws Error `setup` has not built them */
export async function planePrograms(): Promise<PlanePrograms> {
  return {
    kubernetes: present(await findPrograms(apiServerPrograms)),
    http: present(await findHttpPrograms(httpPrograms)),
    python: present(await findPythonClient()),
    redis: present(await findDebianProgram('redis-server')),
  };
}

function present<T extends object | string>(found: T | Missing): T {
  if (typeof found === 'string' || !isMissing(found)) return found;
  throw new Error(`${found.missing} is missing: ${found.reason}`);
}
