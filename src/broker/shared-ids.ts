import type { Logger } from '../base/log/logger.ts';

/** After so many agent ids, those that were logged are forgotten. */
const maxIds = 1_000;

/** Logs agent ids that two processes share, once for each id. */
export class SharedIds {
  readonly #log: Logger;
  /** `<cluster>/<agent id>`. */
  readonly #logged = new Set<string>();

  constructor(log: Logger) {
    this.#log = log;
  }

  add({ cluster, agent }: { readonly cluster: string; readonly agent: string }): void {
    const name = `${cluster}/${agent}`;
    if (this.#logged.has(name)) return;
    if (this.#logged.size >= maxIds) this.#logged.clear();
    this.#logged.add(name);
    const reason = 'both work side by side; give each process its own id (--agent-id)';
    this.#log.warn('two processes have the same agent id', { cluster, agent, reason });
  }
}
