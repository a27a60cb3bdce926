import { parseCertificates } from '../../base/x509/index.ts';
import { organizationalUnitOf } from '../api/agent-identity.ts';
import { kubeTime } from '../api/condition.ts';
import type { Fields } from '../api/fields.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { annotations } from '../api/names.ts';
import { type Authority, readable } from '../rotation/authority.ts';

/**
 * Records on a ManagedClusterAddOn that `signing` has signed `certificate` for its agent. It is a
 * JSON merge patch, because server-side apply would create an addon again that was just removed.
 *
 * @param certificate PEM, from the status of a request
 * @returns undefined when the record exists, or another CA has signed
 */
export async function signerRecordPatch(
  addon: ManagedClusterAddOn,
  certificate: string,
  signing: Authority,
  nowMs: number,
): Promise<Fields | undefined> {
  const organizationalUnit = organizationalUnitOf(signing.certPem);
  if (addon.agentSigner?.organizationalUnit === organizationalUnit) return undefined;
  const leaf = await readable(() => parseCertificates(certificate)[0]);
  // The rotation waits for certificates of the new CA. A certificate of the previous CA is no
  // progress.
  if (!(await leaf?.isIssuedBy(signing.certificate))) return undefined;
  return {
    metadata: {
      uid: addon.uid,
      annotations: {
        [annotations.agentSigner]: organizationalUnit,
        [annotations.agentSignerSince]: kubeTime(nowMs),
      },
    },
  };
}
