import { type Certificate, parseCertificates, X509Error } from '../../base/x509/index.ts';
import { kubeTime } from '../api/condition.ts';
import type { Fields } from '../api/fields.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import { annotations } from '../api/names.ts';
import type { Authority } from '../rotation/authority.ts';
import { organizationalUnitOf } from '../api/agent-identity.ts';

/**
 * What takes note on a ManagedClusterAddOn that `signing` has signed `certificate` for its agent: a JSON merge patch, or undefined where
 * it stands there or is not so. Not server-side apply: that would make an addon again that has just been removed.
 *
 * @param certificate PEM, from the status of a request
 */
export async function agentSignerPatch(
  addon: ManagedClusterAddOn,
  certificate: string,
  signing: Authority,
  nowMs: number,
): Promise<Fields | undefined> {
  const organizationalUnit = organizationalUnitOf(signing.certPem);
  if (addon.agentSigner?.organizationalUnit === organizationalUnit) return undefined;
  const leaf = read(certificate);
  // One of the CA before says nothing: the rotation waits for those that have another.
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
