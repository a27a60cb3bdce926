import { AccessError } from '../../access/access-error.ts';
import {
  type ClusterSettings,
  settingsInConfigMap,
  settingsOf,
} from '../../access/cluster-settings.ts';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import { askInTime } from './ask-in-time.ts';
import type { ConfigMapName, HubServer } from './hub-server.ts';

export interface HubClusterSettingsParts extends Pick<HubServer, 'readConfigMap'> {
  /** The ConfigMap that the addon manager writes. */
  readonly configMap: ConfigMapName;
  readonly cluster: string;
  readonly clock: Clock;
  readonly log: Logger;
}

/** For how long settings are used before they are read again, in milliseconds. */
const keptMs = 30_000;

/** How long after a failure the settings are read again, in milliseconds. */
const retryAfterMs = 5_000;

type State = { readonly untilMs: number } & (
  | { readonly kind: 'known'; readonly settings: ClusterSettings | undefined }
  | { readonly kind: 'unknown'; readonly problem: string }
);

/**
 * The settings of one cluster in a ConfigMap of the hub cluster, for a runtime that cannot watch the
 * hub: a request reads them when they are older than 30 s. While they are missing or not usable,
 * nobody is authenticated (fail closed), because a token may belong to a provider that the cluster
 * has switched off. While the hub does not answer, the last known settings are valid, as on Node.
 */
export class HubClusterSettings {
  readonly #parts: HubClusterSettingsParts;
  #state: State = { kind: 'unknown', problem: 'not read', untilMs: -Infinity };
  #reading: Promise<void> | undefined;

  constructor(parts: HubClusterSettingsParts) {
    this.#parts = parts;
  }

  /**
   * The settings of the cluster; undefined: it has the default.
   *
   * @throws AccessError `unavailable` the settings are not known
   */
  async current(): Promise<ClusterSettings | undefined> {
    if (this.#state.untilMs <= this.#parts.clock.now()) {
      this.#reading ??= this.#read();
      await this.#reading;
    }
    const state = this.#state;
    if (state.kind === 'unknown') throw new AccessError('unavailable', state.problem);
    return state.settings;
  }

  get #where(): string {
    const { namespace, name } = this.#parts.configMap;
    return `ConfigMap ${namespace}/${name} with the settings of clusters`;
  }

  /** Never rejects. */
  async #read(): Promise<void> {
    const { readConfigMap, configMap, clock, log } = this.#parts;
    try {
      this.#take(await askInTime(clock, (signal) => readConfigMap(configMap, signal)));
    } catch (thrown) {
      const problem = `${this.#where} cannot be read: ${describeError(thrown)}`;
      log.warn('settings of clusters cannot be read', { error: problem });
      const untilMs = clock.now() + retryAfterMs;
      const { kind } = this.#state;
      this.#state =
        kind === 'known' ? { ...this.#state, untilMs } : { kind: 'unknown', problem, untilMs };
    }
    this.#reading = undefined;
  }

  #take(data: Readonly<Record<string, string>> | undefined): void {
    const { cluster, clock, log } = this.#parts;
    const nowMs = clock.now();
    try {
      const settings = settingsOf(cluster, settingsInConfigMap(data));
      this.#state = { kind: 'known', settings, untilMs: nowMs + keptMs };
    } catch (thrown) {
      if (!(thrown instanceof AccessError)) throw thrown;
      const problem = `${this.#where} cannot be used: ${thrown.message}`;
      log.error('settings of clusters cannot be used, nobody is authenticated', { error: problem });
      this.#state = { kind: 'unknown', problem, untilMs: nowMs + retryAfterMs };
    }
  }
}
