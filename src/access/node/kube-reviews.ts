import type { KubeApi, NewKubeObject } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { AccessReviewStatus, ReviewAccess } from '../subject-access-review.ts';
import type { ReviewToken, TokenReviewStatus } from '../token-review.ts';

/** Reviews tokens at the API server of the hub cluster. */
export function kubeTokenReview(api: KubeApi): ReviewToken {
  return async (token, audiences, signal) => {
    const review: NewKubeObject = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, ...(audiences.length === 0 ? {} : { audiences }) },
    };
    const created = await api.create<KubeObject & { status?: TokenReviewStatus }>(review, {
      signal,
    });
    return created.status;
  };
}

/** Reviews access at the API server of the hub cluster. */
export function kubeAccessReview(api: KubeApi): ReviewAccess {
  return async (spec, signal) => {
    const review: NewKubeObject = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec,
    };
    const created = await api.create<KubeObject & { status?: AccessReviewStatus }>(review, {
      signal,
    });
    return created.status;
  };
}
