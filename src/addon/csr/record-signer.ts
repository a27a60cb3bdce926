import { type Certificate, parseCertificates, X509Error } from '../../base/x509/index.ts';
import { organizationalUnitOf } from '../api/agent-identity.ts';
import { kubeTime } from '../api/condition.ts';
import type { Fields } from '../api/fields.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { annotations } from '../api/names.ts';
import type { Authority } from '../rotation/authority.ts';

/**
 * Records on a ManagedClusterAddOn that `signing` has signed `certificate` for its agent. It is a JSON merge patch, because server-side
 * apply would create an addon again that was just removed.
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
  const leaf = read(certificate);
  // The rotation waits for certificates of the new CA. A certificate of the previous CA is no progress.
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

function read(pem: string): Certificate | undefined {
  try {
    return parseCertificates(pem)[0];
  } catch (thrown) {
    if (thrown instanceof X509Error) return undefined;
    throw thrown;
  }
}
