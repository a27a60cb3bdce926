import { clusterAlias } from '../../base/names/cluster-alias.ts';
import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { Informer } from '../../kube/controllers/informer.ts';
import { AccessError } from '../access-error.ts';
import type { ClusterProviders } from '../authentication-chain.ts';
import { type ClusterGroup, type ClusterIssuer, settingsInConfigMap } from '../cluster-settings.ts';
import { OidcAuthenticator } from '../oidc-authenticator.ts';
import type { TokenAuthenticator } from '../token-authenticator.ts';
import { fetchJsonWith } from './fetch-json.ts';

export interface ClusterAuthenticationParts {
  /** The API server of the hub. */
  readonly api: KubeApi;
  /** The ConfigMap that the addon manager writes. */
  readonly configMap: { readonly namespace: string; readonly name: string };
  /** For clusters without an issuer of their own; undefined: none. */
  readonly oidc?: TokenAuthenticator | undefined;
  /** Makes the authenticator of an issuer (default: it reads the keys over TLS). */
  readonly openIssuer?: (issuer: ClusterIssuer) => TokenAuthenticator & Disposable;
  readonly clock: Clock;
  readonly log: Logger;
}

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * Follows the settings of clusters in a ConfigMap. While they are not known or not usable, nobody is
 * authenticated (fail closed), because a token may belong to a provider that a cluster has switched
 * off.
 */
export class ClusterAuthentication implements AsyncDisposable {
  readonly #parts: ClusterAuthenticationParts;
  readonly #issuers = new Map<string, TokenAuthenticator & Disposable>();
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;
  #byCluster: ReadonlyMap<string, ClusterProviders> = new Map();
  #problem: string | undefined;
  #change = 0;

  constructor(parts: ClusterAuthenticationParts) {
    this.#parts = parts;
    const { api, clock, log } = parts;
    const { namespace, name } = parts.configMap;
    this.#problem = `${this.#where} has not been read yet`;
    const informer = new Informer<ConfigMap>({
      ...{ api, clock, log },
      collection: { apiVersion: 'v1', kind: 'ConfigMap', namespace },
      fieldSelector: `metadata.name=${name}`,
    });
    informer.onChange(({ now, old }) => {
      if ((now ?? old)?.metadata.name === name) void this.#take(now);
    });
    const running = [informer.run(this.#stop.signal), this.#reportMissing(informer)];
    this.#running = Promise.all(running);
  }

  /** @throws AccessError `unavailable` the settings are not known */
  providersOf(cluster: string): ClusterProviders {
    if (this.#problem !== undefined) throw new AccessError('unavailable', this.#problem);
    return this.#byCluster.get(cluster) ?? { acceptsHubTokens: true, oidc: this.#parts.oidc };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the gateway is shutting down'));
    this.#change += 1;
    this.#drop(new Set());
    await this.#running;
  }

  get #where(): string {
    const { namespace, name } = this.#parts.configMap;
    return `ConfigMap ${namespace}/${name} with the settings of clusters`;
  }

  async #reportMissing(informer: Informer<ConfigMap>): Promise<void> {
    await informer.synced(this.#stop.signal).catch(() => undefined);
    if (this.#change === 0) await this.#take(undefined);
  }

  async #take(configMap: ConfigMap | undefined): Promise<void> {
    const change = ++this.#change;
    const { log } = this.#parts;
    try {
      const groups = settingsInConfigMap(configMap && (configMap.data ?? {}));
      const names = await Promise.all(groups.map(allNamesOf));
      // A newer change has come meanwhile.
      if (change !== this.#change) return;
      this.#use(groups, names);
      log.info('settings of clusters changed', { object: this.#where, open: groups.length });
    } catch (thrown) {
      if (change !== this.#change || this.#stop.signal.aborted) return;
      this.#problem = `${this.#where} cannot be used: ${describeError(thrown)}`;
      this.#byCluster = new Map();
      this.#drop(new Set());
      log.error('settings of clusters cannot be used, nobody is authenticated', {
        error: this.#problem,
      });
    }
  }

  #use(groups: readonly ClusterGroup[], names: readonly (readonly string[])[]): void {
    const wanted = new Set(groups.map(({ oidc }) => keyOf(oidc)));
    // The keys that came through a CA that counts no more are dropped before anything else.
    this.#drop(wanted);
    const byCluster = new Map<string, ClusterProviders>();
    for (const [at, { hubTokens, oidc }] of groups.entries()) {
      const providers = { acceptsHubTokens: hubTokens, oidc: this.#authenticatorOf(oidc) };
      for (const name of names[at]!) byCluster.set(name, providers);
    }
    this.#byCluster = byCluster;
    this.#problem = undefined;
  }

  #authenticatorOf(oidc: ClusterGroup['oidc']): TokenAuthenticator | undefined {
    if (oidc === undefined) return this.#parts.oidc;
    if (oidc === 'off') return undefined;
    const key = keyOf(oidc);
    const known = this.#issuers.get(key);
    if (known !== undefined) return known;
    const { openIssuer = (issuer: ClusterIssuer) => openIssuerOf(issuer, this.#parts) } =
      this.#parts;
    const opened = openIssuer(oidc);
    this.#issuers.set(key, opened);
    return opened;
  }

  /** Closes all issuers that are not `wanted`. */
  #drop(wanted: ReadonlySet<string>): void {
    for (const [key, issuer] of this.#issuers) {
      if (wanted.has(key)) continue;
      issuer[Symbol.dispose]();
      this.#issuers.delete(key);
    }
  }
}

/** The names by which clients address the clusters: also by their aliases. */
async function allNamesOf({ clusters }: ClusterGroup): Promise<readonly string[]> {
  return [...clusters, ...(await Promise.all(clusters.map(clusterAlias)))];
}

function keyOf(oidc: ClusterGroup['oidc']): string {
  return JSON.stringify(oidc) ?? '';
}

function openIssuerOf(
  { options, ca, caProblem }: ClusterIssuer,
  parts: Pick<ClusterAuthenticationParts, 'clock' | 'log'>,
): OidcAuthenticator {
  const authenticator = new OidcAuthenticator(options, parts);
  try {
    if (caProblem !== undefined) throw new Error(caProblem);
    authenticator.use(fetchJsonWith(ca));
  } catch (thrown) {
    const error = describeError(thrown);
    authenticator.disable(`the CA of the OIDC issuer cannot be used: ${error}`);
    parts.log.error('OIDC issuer is off until its CA can be used', {
      ...{ url: options.issuerUrl, error },
    });
  }
  return authenticator;
}
