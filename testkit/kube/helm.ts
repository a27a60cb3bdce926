import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import type { Missing } from '../ground/cache.ts';
import { findPrograms, kubernetesVersion } from '../ground/kubernetes/programs.ts';
import { run } from '../ground/kubernetes/run.ts';

export type ChartName = 'cluster-proxy' | 'agent';
export type Values = Readonly<Record<string, unknown>>;

export interface HelmTarget {
  /** Default: none, so that `lookup` finds nothing. */
  readonly kubeconfig?: string;
}

export const chartDirectory = (chart: ChartName): string =>
  fileURLToPath(new URL(`../../charts/${chart}`, import.meta.url));

/** helm, with its own caches and settings out of the way. */
export class Helm {
  readonly #command: string;

  constructor(command: string) {
    this.#command = command;
  }

  /** helm's stdout; `values` go through a file, as users give them. */
  async run(
    args: readonly string[],
    values: Values = {},
    { kubeconfig }: HelmTarget = {},
  ): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-helm-'));
    try {
      const file = join(directory, 'values.json');
      await writeFile(file, JSON.stringify(values));
      const takesValues = ['template', 'lint', 'install', 'upgrade'].includes(args[0]!);
      return await run({
        command: this.#command,
        args: [...args, ...(takesValues ? ['--values', file] : [])],
        env: {
          HELM_CACHE_HOME: directory,
          HELM_CONFIG_HOME: directory,
          HELM_DATA_HOME: directory,
          KUBECONFIG: kubeconfig ?? join(directory, 'none'),
        },
      });
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  /**
   * The objects that an installation makes with these values, without CRDs and without the pod of
   * `helm test`.
   */
  async template(
    chart: ChartName,
    values: Values = {},
    args: readonly string[] = [],
  ): Promise<readonly KubeObject[]> {
    return objectsOf(await this.templateText(chart, values, ['--skip-tests', ...args]));
  }

  async templateText(
    chart: ChartName,
    values: Values = {},
    args: readonly string[] = [],
  ): Promise<string> {
    const fixed = ['release-name', chartDirectory(chart), '--namespace=hub-ns'];
    const version = `--kube-version=${kubernetesVersion}`;
    return this.run(['template', ...fixed, version, ...args], values);
  }

  /** Helm's reason to refuse these values, without the command line. */
  async refusal(chart: ChartName, values: Values): Promise<string> {
    try {
      await this.template(chart, values);
    } catch (error) {
      return String(error).replace(/^.*? ended with code \d+: /s, '');
    }
    throw new Error(`helm takes ${JSON.stringify(values)}`);
  }
}

export function objectsOf(text: string): readonly KubeObject[] {
  return parseAllDocuments(text)
    .map((document) => {
      if (document.errors.length > 0) throw document.errors[0]!;
      return document.toJS() as KubeObject | null;
    })
    .filter((object) => object !== null);
}

/** The built helm, or the reason of its absence. */
export async function findHelm(): Promise<Helm | Missing> {
  const programs = await findPrograms(['helm']);
  return 'helm' in programs ? new Helm(programs.helm) : programs;
}

/** The one object of that kind and name. */
export function objectOf(
  objects: readonly KubeObject[],
  kind: string,
  name: string,
): KubeObject & Record<string, never> {
  const found = objects.filter((object) => object.kind === kind && object.metadata.name === name);
  if (found.length !== 1) {
    const all = objects.map((object) => `${object.kind} ${object.metadata.name}`).join(', ');
    throw new Error(`${found.length} times ${kind} ${name} among ${all}`);
  }
  return found[0] as KubeObject & Record<string, never>;
}
