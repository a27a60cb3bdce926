import type { ClusterIssuer } from '../../access/cluster-settings.ts';
import { describeError } from '../../base/error.ts';
import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields, text } from '../api/fields.ts';

const key = 'ca.crt';

/**
 * The CAs of an issuer's server in a ConfigMap, or the reason why they cannot be used. As in Cluster
 * Proxy, `data` comes before `binaryData`.
 *
 * @param where the name of the ConfigMap for messages
 */
export function issuerCa(
  configMap: KubeObject | undefined,
  where: string,
): Pick<ClusterIssuer, 'ca' | 'caProblem'> {
  if (configMap === undefined) return { caProblem: `${where} does not exist` };
  const encoded = text(fields(configMap['binaryData'])[key]);
  const pem = text(fields(configMap['data'])[key]) || Buffer.from(encoded, 'base64').toString();
  if (pem === '') return { caProblem: `${where} has no key ${key}` };
  try {
    return { ca: readCaCertificates(pem, 'servers') };
  } catch (thrown) {
    return { caProblem: `${where} has no CA in ${key}: ${describeError(thrown)}` };
  }
}
