import { X509Certificate } from 'node:crypto';
import { dirname, join } from 'node:path';
import type { GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';

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

/** A file of a Secret's volume in one pod of a node, as the kubelet has brought it up to date. */
export interface MountedFile {
  readonly podUid: string;
  readonly text: string;
  /** When it replaced the earlier file. */
  readonly since: Date;
}

export async function mountedFiles(
  cluster: GroundCluster,
  volume: string,
  file: string,
): Promise<readonly MountedFile[]> {
  const pods = join(dirname(cluster.logs), 'kubelet/pods');
  const script = `cd '${pods}'
for directory in */volumes/kubernetes.io~secret/${volume}; do
  test -e "$directory/${file}" || continue
  echo "=== $directory $(stat --format=%.3Y "$directory/..data")"
  cat "$directory/${file}"
done`;
  const output = await cluster.run('bash', ['-c', script]);
  return output
    .split('=== ')
    .slice(1)
    .map((part) => {
      const [head = '', ...lines] = part.split('\n');
      const [directory = '', seconds = ''] = head.split(' ');
      const podUid = directory.split('/')[0] ?? '';
      return { podUid, text: lines.join('\n').trim(), since: new Date(Number(seconds) * 1000) };
    });
}
