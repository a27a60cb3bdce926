import type { AccessReviewStatus, ReviewAccess } from '../../access/subject-access-review.ts';
import type { ReviewToken, TokenReviewStatus } from '../../access/token-review.ts';

export interface HubReviews {
  readonly reviewToken: ReviewToken;
  readonly reviewAccess: ReviewAccess;
}

/** A longer answer is not one of an API server. */
const maxAnswerBytes = 256 * 1024;

/**
 * Creates reviews at the hub cluster's API server by `fetch`. The runtime verifies its certificate
 * against public CAs only.
 */
export function hubReviews(server: { readonly url: URL; readonly token: string }): HubReviews {
  const create = async (
    group: string,
    kind: string,
    spec: object,
    signal: AbortSignal,
  ): Promise<unknown> => {
    const base = server.url.href.replace(/\/$/, '');
    const response = await fetch(`${base}/apis/${group}/v1/${kind.toLowerCase()}s`, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${server.token}`,
        'Content-Type': 'application/json',
        Accept: 'application/json',
      },
      body: JSON.stringify({ apiVersion: `${group}/v1`, kind, spec }),
      // Another server must not get the token.
      redirect: 'manual',
      signal,
    });
    if (response.status !== 200 && response.status !== 201) {
      await response.body?.cancel();
      throw new Error(`the hub's API server answered ${response.status} to a ${kind}`);
    }
    const text = await response.text();
    if (text.length > maxAnswerBytes) throw new Error(`the answer to a ${kind} is too long`);
    const answer = JSON.parse(text) as { readonly status?: unknown } | null;
    return answer?.status;
  };
  return {
    async reviewToken(token, audiences, signal) {
      const spec = { token, ...(audiences.length === 0 ? {} : { audiences }) };
      const status = await create('authentication.k8s.io', 'TokenReview', spec, signal);
      return status as TokenReviewStatus | undefined;
    },
    async reviewAccess(spec, signal) {
      const status = await create('authorization.k8s.io', 'SubjectAccessReview', spec, signal);
      return status as AccessReviewStatus | undefined;
    },
  };
}
