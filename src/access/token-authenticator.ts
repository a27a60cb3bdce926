import type { MaybePromise } from '../base/maybe-promise.ts';
import type { Subject } from './subject.ts';

/** Finds the subject of a bearer token. */
export interface TokenAuthenticator {
  /**
   * @param cluster the name of the cluster that the request is for
   * @param address the key of limits per client; undefined: unknown, and not limited
   * @returns undefined: the token is not known here
   * @throws AccessError `unavailable` the token cannot be checked now. The caller must refuse it.
   */
  authenticate(
    token: string,
    cluster: string,
    signal: AbortSignal,
    address?: string,
  ): MaybePromise<Subject | undefined>;
}
