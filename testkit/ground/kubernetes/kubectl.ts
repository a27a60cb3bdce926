import { run } from './run.ts';

/** Objects as YAML or JSON text, or as values. */
export type Manifest = string | object | readonly object[];

export interface CallOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** How to start a command that can reach the cluster: the program, and a prefix of arguments. */
export interface Entrance {
  readonly command: string;
  readonly args: readonly string[];
}

/** kubectl with the credentials of one kubeconfig. */
export class Kubectl {
  readonly #program: string;
  readonly #kubeconfig: string;
  readonly #entrance: Entrance | undefined;

  constructor(program: string, kubeconfig: string, entrance?: Entrance) {
    this.#program = program;
    this.#kubeconfig = kubeconfig;
    this.#entrance = entrance;
  }

  /** The command line for `kubectl ARGS...`. */
  commandLine(args: readonly string[]): { readonly command: string; readonly args: string[] } {
    const own = [`--kubeconfig=${this.#kubeconfig}`, ...args];
    if (this.#entrance === undefined) return { command: this.#program, args: own };
    const { command, args: before } = this.#entrance;
    return { command, args: [...before, this.#program, ...own] };
  }

  /** Returns the whole stdout. @throws Error the exit code is not 0; the message quotes stderr */
  async run(args: readonly string[], options: CallOptions = {}): Promise<string> {
    return run({ ...this.commandLine(args), env: cacheBeside(this.#kubeconfig), ...options });
  }

  /** Server-side apply, forced. `args` are added, such as `--dry-run=server`. */
  async apply(manifest: Manifest, args: readonly string[] = []): Promise<string> {
    const force = ['apply', '--server-side', '--force-conflicts', '--field-manager=ground'];
    return this.run([...force, ...args, '-f', '-'], { input: textOf(manifest) });
  }

  /** `kubectl get ARGS -o json`, parsed. */
  async get<T = unknown>(...args: string[]): Promise<T> {
    return JSON.parse(await this.run(['get', ...args, '-o', 'json'])) as T;
  }
}

/**
 * Environment for kubectl and helm. Their caches lie beside the kubeconfig. In the usual place,
 * they would use for hours the cached answers of an earlier server with the same address.
 */
export function cacheBeside(kubeconfig: string): Readonly<Record<string, string>> {
  return { KUBECACHEDIR: `${kubeconfig}.cache` };
}

export function textOf(manifest: Manifest): string {
  if (typeof manifest === 'string') return manifest;
  const objects = Array.isArray(manifest) ? manifest : [manifest];
  return objects.map((object) => `---\n${JSON.stringify(object)}\n`).join('');
}
