import type { ClusterIssuer } from '../../access/cluster-settings.ts';
import { describeError } from '../../base/error.ts';
import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields, text } from '../api/fields.ts';

const key = 'ca.crt';

type IssuerCa = Pick<ClusterIssuer, 'ca' | 'caProblem'>;

/** Each ConfigMap is read once for all clusters, because it can hold a hundred certificates. */
const known = new WeakMap<KubeObject, IssuerCa>();

/**
 * The CAs of an issuer's server in a ConfigMap, or the reason why they cannot be used. As in Cluster
 * Proxy, `data` comes before `binaryData`.
 *
 * @param where the name of the ConfigMap for messages
 */
export function issuerCa(configMap: KubeObject | undefined, where: string): IssuerCa {
  if (configMap === undefined) return { caProblem: `${where} does not exist` };
  const read = known.get(configMap) ?? readCa(configMap, where);
  known.set(configMap, read);
  return read;
}

function readCa(configMap: KubeObject, where: string): IssuerCa {
  const encoded = text(fields(configMap['binaryData'])[key]);
  const pem = text(fields(configMap['data'])[key]) || Buffer.from(encoded, 'base64').toString();
  if (pem === '') return { caProblem: `${where} has no key ${key}` };
  try {
    return { ca: readCaCertificates(pem, 'servers') };
  } catch (thrown) {
    return { caProblem: `${where} has no CA in ${key}: ${describeError(thrown)}` };
  }
}
