import { unverifiedToken } from '../../access/unverified-token.ts';
import type { KubeApi, NewKubeObject } from '../../kube/client/kube-api.ts';
import { isKubeError, KubeError } from '../../kube/client/kube-error.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { AuthenticationUnavailableError } from '../authenticator.ts';
import type { TokenReviewer } from '../token-review-authenticator.ts';

/** The audience of tokens that are for the broker alone. */
const audience = 'culvert-broker';
const timeoutMs = 5_000;

interface TokenReview extends KubeObject {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: { readonly username?: string };
    readonly audiences?: readonly string[];
  };
}

/**
 * Reviews tokens at the hub cluster's API server, with one request each. A token that claims our
 * audience is reviewed for it, any other token for the API server's own audience.
 */
export class KubeTokenReviewer implements TokenReviewer {
  readonly #api: KubeApi;

  constructor(api: KubeApi) {
    this.#api = api;
  }

  async userOf(token: string): Promise<string | undefined> {
    const { aud } = unverifiedToken(token);
    const isForUs = aud === audience || (Array.isArray(aud) && aud.includes(audience));
    return await this.#review(token, isForUs ? [audience] : []);
  }

  async #review(token: string, audiences: readonly string[]): Promise<string | undefined> {
    const review: NewKubeObject = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, ...(audiences.length === 0 ? {} : { audiences }) },
    };
    try {
      const options = { signal: new AbortController().signal, timeoutMs };
      const { status } = await this.#api.create<TokenReview>(review, options);
      if (status?.authenticated !== true) return undefined;
      // A server that does not know audiences omits them, so it has not checked ours.
      const forUs = audiences.every((wanted) => status.audiences?.includes(wanted));
      return forUs ? status.user?.username : undefined;
    } catch (thrown) {
      if (!(thrown instanceof KubeError)) throw thrown;
      const advice = isKubeError(thrown, 'forbidden', 'unauthorized')
        ? "; grant the broker's ServiceAccount create on tokenreviews"
        : '';
      throw new AuthenticationUnavailableError(
        `the token cannot be checked now: ${thrown.message}${advice}`,
        { cause: thrown },
      );
    }
  }
}
