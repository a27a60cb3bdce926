import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ground } from '../../../testkit/ground/kubernetes/ground.ts';
import { hubNamespace } from './names.ts';

export type Values = Readonly<Record<string, unknown>>;

/** Runs helm on the hub as a user types it, `values` from a file; what it says. */
export async function helm(
  { hub, programs }: Ground,
  args: readonly string[],
  values?: Values,
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-helm-'));
  try {
    const file = join(directory, 'values.json');
    await writeFile(file, JSON.stringify(values ?? {}));
    const where = [`--kubeconfig=${hub.kubeconfigFile}`, `--namespace=${hubNamespace}`];
    const given = values === undefined ? [] : ['--values', file];
    const homes = ['CACHE', 'CONFIG', 'DATA'].map((kind) => `HELM_${kind}_HOME=${directory}`);
    return await hub.run('env', [...homes, programs.helm, ...args, ...where, ...given]);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
