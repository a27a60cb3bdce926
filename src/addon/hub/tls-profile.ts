import { createHash } from 'node:crypto';
import { isCipherSuite } from '../../base/tls/tls-policy.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { textMap } from '../api/fields.ts';

/** TLS settings of the ports on the hub, in the names of Go and IANA. */
export interface TlsProfile {
  /** `VersionTLS10` to `VersionTLS13` */
  readonly minVersion: string;
  /** Empty: the default of the runtime. */
  readonly cipherSuites: readonly string[];
}

export const defaultTlsProfile: TlsProfile = { minVersion: 'VersionTLS12', cipherSuites: [] };

/**
 * Reads the ConfigMap. Without one, the profile is the default. With a problem there is no profile,
 * so the Deployment stays as it is.
 */
export function readTlsProfile(configMap: KubeObject | undefined) {
  if (configMap === undefined) {
    return { profile: defaultTlsProfile, problem: undefined, ignored: [] };
  }
  const { namespace = '', name } = configMap.metadata;
  const at = (key: string) => `ConfigMap ${namespace}/${name} data.${key}`;
  const refused = (key: string, sentence: string) => {
    return { profile: undefined, problem: { field: at(key), sentence }, ignored: [] };
  };
  const { minTLSVersion = '', cipherSuites = '' } = textMap(configMap['data']);
  const given = minTLSVersion.trim();
  const minor = /^(?:VersionTLS1|TLSv1\.)([0-3])$/.exec(given)?.[1];
  if (given !== '' && minor === undefined) {
    const sentence = `is ${JSON.stringify(given)}, VersionTLS12 or VersionTLS13 is needed`;
    return refused('minTLSVersion', sentence);
  }
  const suites = cipherSuites.split(',').flatMap((suite) => suite.trim() || []);
  const known = suites.filter((suite) => isCipherSuite(suite));
  if (suites.length > 0 && known.length === 0) {
    return refused('cipherSuites', 'names no suite that is known, IANA names are needed');
  }
  const unknown = suites.filter((suite) => !known.includes(suite));
  return {
    profile: { minVersion: `VersionTLS1${minor ?? 2}`, cipherSuites: known },
    problem: undefined,
    /** Cipher suites that are unknown and skipped. */
    ignored: unknown.map((suite) => {
      return { field: at('cipherSuites'), sentence: `names ${suite}, which is unknown` };
    }),
  };
}

/**
 * The annotation `proxy.open-cluster-management.io/tls-config-hash` of the Deployment, as Cluster
 * Proxy computes it.
 */
export function tlsProfileHash({ minVersion, cipherSuites }: TlsProfile): string {
  const text = `${cipherSuites.join(',')}\0${minVersion}`;
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
