import { systemClock, type Clock } from '../../base/clock.ts';
import type { LastGoodCa } from '../../base/tls/last-good-ca.ts';
import { proxyFingerprint } from '../../base/net/proxy.ts';
import type { KubeConfig, KubeEndpoint } from './kube-endpoint.ts';

export interface RereadOptions {
  readonly clock?: Clock | undefined;
  /** After what time files are read again, in milliseconds (default 10_000). */
  readonly maxAgeMs?: number | undefined;
  /** Keeps the last good CA and reports when it is stale (default: reports nothing). */
  readonly ca?: LastGoodCa | undefined;
}

/**
 * Reads files again after `maxAgeMs`. For a few small files this is cheaper than a watch, and
 * correct on every file system.
 */
export class RereadingConfig implements KubeConfig {
  readonly #read: () => Promise<KubeEndpoint>;
  readonly #clock: Clock;
  readonly #maxAgeMs: number;
  #known: { readonly endpoint: KubeEndpoint; readonly print: string } | undefined;
  #freshUntilMs = -Infinity;
  #reading: Promise<KubeEndpoint> | undefined;

  constructor(read: () => Promise<KubeEndpoint>, options: RereadOptions = {}) {
    this.#read = read;
    this.#clock = options.clock ?? systemClock;
    this.#maxAgeMs = options.maxAgeMs ?? 10_000;
  }

  endpoint(): Promise<KubeEndpoint> {
    if (this.#known !== undefined && this.#clock.now() < this.#freshUntilMs) {
      return Promise.resolve(this.#known.endpoint);
    }
    this.#reading ??= this.#reread().finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  expire(): void {
    this.#freshUntilMs = -Infinity;
  }

  async #reread(): Promise<KubeEndpoint> {
    const endpoint = await this.#read();
    const { token, certificate, proxy } = endpoint;
    // JSON shows every Secret as the same word, so secrets are compared separately.
    const secrets = [token, certificate?.key, proxyFingerprint(proxy)];
    const print = JSON.stringify([endpoint, ...secrets.map((secret) => secret?.reveal())]);
    if (this.#known?.print !== print) this.#known = { endpoint, print };
    this.#freshUntilMs = this.#clock.now() + this.#maxAgeMs;
    return this.#known.endpoint;
  }
}
