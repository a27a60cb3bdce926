import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DebianProgram } from '../debian-programs.ts';
import type { StartedCluster } from './started-cluster.ts';
import type { Programs } from './programs.ts';
import { entrypoints } from './topology.ts';

/** The settings of `ingress-controller.ts`. */
export interface IngressSettings {
  readonly kubectl: string;
  readonly kubeconfig: string;
  readonly nginx: DebianProgram;
  readonly directory: string;
  readonly address: string;
}

/** Runs nginx, whose configuration follows the hub's Ingresses. */
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
