import { X509Certificate } from 'node:crypto';
import type { GroundCluster } from '../../ground/kubernetes/ground.ts';

export interface Secret {
  readonly metadata: {
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly data: Readonly<Record<string, string>>;
}

export function secretOf(cluster: GroundCluster, namespace: string, name: string): Promise<Secret> {
  return cluster.get<Secret>('-n', namespace, 'secret', name);
}

/** An entry as text; empty where there is none. */
export function textIn({ data }: Secret, key: string): string {
  return Buffer.from(data[key] ?? '', 'base64').toString('utf8');
}

/** All certificates of an entry. */
export function certificatesIn(secret: Secret, key: string): readonly X509Certificate[] {
  const pems = textIn(secret, key).match(
    /-----BEGIN CERTIFICATE-----[^-]*-----END CERT[^-]*-----/g,
  );
  return (pems ?? []).map((pem) => new X509Certificate(pem));
}

/** The certificate that a Secret of type TLS begins with. */
export async function leafOf(
  cluster: GroundCluster,
  namespace: string,
  name: string,
): Promise<X509Certificate> {
  const [leaf] = certificatesIn(await secretOf(cluster, namespace, name), 'tls.crt');
  if (leaf === undefined) throw new Error(`Secret ${namespace}/${name} holds no certificate`);
  return leaf;
}

/** What the files of a Secret's volume hold in the pods of a node, one text per pod: the kubelet brings them up to date. */
export async function mountedFiles(
  cluster: GroundCluster,
  volume: string,
  file: string,
): Promise<readonly string[]> {
  const { logs } = cluster;
  const pods = `${logs.slice(0, -'/logs'.length)}/kubelet/pods`;
  const script = `for file in ${pods}/*/volumes/kubernetes.io~secret/${volume}/${file}; do cat "$file"; echo '==='; done`;
  const text = await cluster.run('bash', ['-c', script]);
  return text.split('===\n').filter((part) => part.trim() !== '');
}
