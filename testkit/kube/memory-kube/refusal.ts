import type { KubeCollection } from '../../../src/kube/client/kube-api.ts';
import { KubeError, type KubeErrorCode } from '../../../src/kube/client/kube-error.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { describeRef, refOf } from '../../../src/kube/client/kube-ref.ts';

/** @throws KubeError what is given names another uid or version than what is stored */
export function checkVersions(given: KubeObject, stored: KubeObject, verb: string): void {
  for (const field of ['uid', 'resourceVersion'] as const) {
    const wanted = given.metadata[field];
    if (wanted === undefined || wanted === stored.metadata[field]) continue;
    const code = verb === 'apply' && field === 'uid' ? 'invalid' : 'conflict';
    throw refused(code, verb, refOf(given), `its ${field} is another one`);
  }
}

export function tooOld(collection: KubeCollection): KubeError {
  return refused('gone', 'watch', collection, 'the version is too old');
}

export function refused(
  code: KubeErrorCode,
  verb: string,
  ref: KubeCollection & { readonly name?: string | undefined },
  reason: string,
): KubeError {
  return new KubeError(code, `cannot ${verb} ${describeRef(ref)}: ${reason}`);
}
