import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import { addressesOf, apiPort } from '../../../testkit/ground/kubernetes/topology.ts';
import { Program } from '../../../testkit/processes/process.ts';
import { culvert, node } from '../../../testkit/world/world.ts';
import type { Deployment } from './deployments.ts';
import { inNetworkOf } from './in-network.ts';
import type { Step } from './killing-proxy.ts';
import { hubNamespace, managerDeployment } from './names.ts';

const main = fileURLToPath(new URL('mortal-manager-main.ts', import.meta.url));
/** Those that are for a pod. */
const ownArguments = ['--leader-elect', '--metrics-bind-address', '--health-probe-bind-address'];

export interface MortalManagerOptions {
  /** A manager's command line, without a kubeconfig. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly server: string;
  readonly caFile: string;
  /** Of the ServiceAccount that the chart gives the manager. */
  readonly token: string;
  /** For files. */
  readonly directory: string;
}

export type MortalManagerEvent =
  | { readonly t: 'killed'; readonly step: Step }
  /** It has gone through all there is and written nothing for a while; `passed` writes changed nothing. */
  | { readonly t: 'quiet'; readonly passed: number };

/**
 * Replaces the manager's pod by a manager with the same arguments and rights that is killed at each
 * write, and started again.
 */
export class MortalManager implements AsyncDisposable {
  readonly #program: Program;
  readonly #directory: string;

  private constructor(program: Program, directory: string) {
    this.#program = program;
    this.#directory = directory;
  }

  static async start(hub: GroundCluster): Promise<MortalManager> {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-mortal-'));
    const which = ['-n', hubNamespace];
    const token = await hub.kubectl([...which, 'create', 'token', 'cluster-proxy']);
    const { spec } = await hub.get<Deployment>(...which, 'deployment', managerDeployment);
    const given = spec.template.spec.containers[0]!.args.slice(1);
    const args = given.filter((text) => !ownArguments.some((name) => text.startsWith(name)));
    const nowhere = ['--metrics-bind-address=0', '--health-probe-bind-address=0'];
    const manager = culvert('addon', [...args, ...nowhere]);
    const options: MortalManagerOptions = {
      command: [manager.command, ...(manager.args ?? [])],
      env: { POD_NAMESPACE: hubNamespace, CULVERT_LOG_LEVEL: 'info' },
      server: `https://${addressesOf(hub.plan).node}:${apiPort}`,
      caFile: hub.caFile,
      token: token.trim(),
      directory,
    };
    const file = join(directory, 'options.json');
    await writeFile(file, JSON.stringify(options), { mode: 0o600 });
    const program = new Program({
      ...inNetworkOf(hub, node, [main, file]),
      name: 'manager that is killed again and again',
    });
    return new MortalManager(program, directory);
  }

  /** What it was killed at, in order. */
  get steps(): readonly Step[] {
    return this.#events.flatMap((event) => (event.t === 'killed' ? [event.step] : []));
  }

  /** Whether the living manager has nothing left to write. @throws Error it ended by itself */
  isQuiet(): boolean {
    const last = this.#events.at(-1);
    return last?.t === 'quiet';
  }

  get #events(): readonly MortalManagerEvent[] {
    const lines = this.#program.stdout.split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => JSON.parse(line) as MortalManagerEvent);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
