import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DebianProgram } from '../debian-programs.ts';
import type { StartedCluster } from './started-cluster.ts';
import type { Programs } from './programs.ts';
import { entrypoints } from './topology.ts';

/** What `ingress-controller.ts` is told. */
export interface IngressSettings {
  readonly kubectl: string;
  readonly kubeconfig: string;
  readonly nginx: DebianProgram;
  readonly directory: string;
  readonly address: string;
}

/** Runs nginx before the hub's Ingresses, with a configuration that follows them. */
export async function startIngress(
  hub: StartedCluster,
  go: Programs,
  nginx: DebianProgram,
): Promise<void> {
  const directory = join(hub.directories.root, 'ingress');
  await mkdir(directory, { recursive: true });
  const settings: IngressSettings = {
    kubectl: go.kubectl,
    kubeconfig: join(hub.directories.kubeconfigs, 'admin'),
    nginx,
    directory,
    address: entrypoints.ingress.address,
  };
  const controller = fileURLToPath(new URL('ingress-controller.ts', import.meta.url));
  await hub.start('ingress', process.execPath, [controller, JSON.stringify(settings)]);
}
