import type { ClusterProviders } from '../../access/authentication-chain.ts';
import type { ClusterIssuer, ClusterSettings } from '../../access/cluster-settings.ts';
import type { OidcAuthenticatorParts } from '../../access/oidc-authenticator.ts';
import { EdgeOidc } from './edge-oidc.ts';

export interface EdgeProvidersParts extends OidcAuthenticatorParts {
  /** The issuer of clusters that have no issuer of their own; undefined: none. */
  readonly oidc: EdgeOidc | undefined;
}

/** The providers of one cluster, from its settings. */
export class EdgeProviders {
  readonly #parts: EdgeProvidersParts;
  /** The cluster's own issuer, whose keys stay while its settings do not change. */
  #own: { readonly key: string; readonly oidc: EdgeOidc } | undefined;

  constructor(parts: EdgeProvidersParts) {
    this.#parts = parts;
  }

  /** @param settings undefined: the default */
  of(settings: ClusterSettings | undefined): ClusterProviders {
    const { hubTokens: acceptsHubTokens = true, oidc } = settings ?? {};
    if (typeof oidc === 'object') return { acceptsHubTokens, oidc: this.#issuer(oidc) };
    this.#own = undefined;
    return { acceptsHubTokens, oidc: oidc === 'off' ? undefined : this.#parts.oidc };
  }

  #issuer(issuer: ClusterIssuer): EdgeOidc {
    const key = JSON.stringify(issuer);
    if (this.#own?.key !== key) {
      this.#own = { key, oidc: new EdgeOidc(issuer.options, this.#parts, caProblemOf(issuer)) };
    }
    return this.#own.oidc;
  }
}

/**
 * The reason why the server of an issuer cannot be verified; undefined: it can. The runtime verifies
 * servers against public CAs only.
 */
export function caProblemOf({ options, ca, caProblem }: ClusterIssuer): string | undefined {
  if ((ca ?? caProblem) === undefined) return undefined;
  return `the issuer ${options.issuerUrl} has a CA of its own, but the runtime verifies servers against public CAs only`;
}
