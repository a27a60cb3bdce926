import { generateKeyPairSync } from 'node:crypto';
import 'reflect-metadata';
import {
  type JsonName,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import {
  type CertificateSigningRequest,
  parseCertificateSigningRequest,
} from '../../../src/addon/api/certificate-signing-request.ts';
import { agentRegistrations } from '../../../src/addon/api/agent-identity.ts';
import { agentDnsName, agentSignerName } from '../../../src/base/names/agent-subject.ts';
import {
  type DistinguishedName,
  generateKeys,
  importSigningKey,
  type KeyPair,
  makeCertificateRequest,
} from '../../../src/base/x509/index.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';

export const kubeSigner = 'kubernetes.io/kube-apiserver-client';
export const keys = generateKeys('ecdsa');

/** The differences of a request from a klusterlet's request for its agent. */
export interface CsrParts {
  /** Default `cluster1`. */
  readonly cluster?: string | undefined;
  readonly signer?: string | undefined;
  /** Identifies the CA, see `organizationalUnitOf`. */
  readonly unit?: string | undefined;
  readonly subject?: Partial<DistinguishedName> | undefined;
  readonly dnsNames?: readonly string[] | undefined;
  readonly keys?: KeyPair | undefined;
  /** Replaces the request that is made of the subject, names and keys. */
  readonly pem?: string | undefined;
  /** Fields of `spec`. A real API server fills in username and groups itself. */
  readonly spec?: object | undefined;
  readonly metadata?: object | undefined;
  readonly conditions?: readonly object[] | undefined;
}

/** A CertificateSigningRequest as the klusterlet of a cluster makes it, changed by `parts`. */
export async function csrObject(parts: CsrParts = {}): Promise<KubeObject> {
  const { cluster = 'cluster1', signer = agentSignerName, conditions = [] } = parts;
  const pem = parts.pem ?? (await pemOf(parts));
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: {
      name: `addon-${cluster}-cluster-proxy-x7k2p`,
      labels: {
        'open-cluster-management.io/cluster-name': cluster,
        'open-cluster-management.io/addon-name': 'cluster-proxy',
      },
      ...parts.metadata,
    },
    spec: {
      request: Buffer.from(pem).toString('base64'),
      signerName: signer,
      ...klusterlet(cluster),
      usages: ['digital signature', 'key encipherment', 'client auth'],
      ...parts.spec,
    },
    status: { conditions },
  };
}

/** The same, parsed as the addon manager parses it. */
export async function csr(parts: CsrParts = {}): Promise<CertificateSigningRequest> {
  return parseCertificateSigningRequest(await csrObject(parts));
}

/** The requester of a cluster's requests, as the API server writes it into them. */
export function klusterlet(cluster: string) {
  return {
    username: `system:open-cluster-management:${cluster}:agent9`,
    groups: [
      `system:open-cluster-management:${cluster}`,
      'system:open-cluster-management:managed-clusters',
      'system:authenticated',
    ],
  };
}

/** The subject in the registration of the cluster's agent. */
export function registeredSubject({
  cluster = 'cluster1',
  signer = agentSignerName,
  unit = 'signer-1',
}: CsrParts = {}): DistinguishedName {
  const registrations = agentRegistrations(cluster, unit);
  const { user, groups, organizationalUnits } = registrations.find((one) => one.signer === signer)!;
  return { commonName: user, organizations: groups, organizationalUnits };
}

/** The agent's request, with more attributes in its subject or an address in its names. */
export async function pemWith(more: {
  readonly subject?: JsonName;
  readonly ip?: string;
}): Promise<string> {
  const { commonName, organizations, organizationalUnits } = registeredSubject();
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [
      ...organizations.map((group) => ({ O: [group] })),
      ...organizationalUnits.map((unit) => ({ OU: [unit] })),
      { CN: [commonName] },
      ...(more.subject ?? []),
    ],
    keys: await keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions:
      more.ip === undefined
        ? []
        : [new SubjectAlternativeNameExtension([{ type: 'ip', value: more.ip }])],
  });
  return `${request.toString('pem')}\n`;
}

/** The agent's request with the last byte of its signature inverted. */
export async function brokenPem(parts: CsrParts = {}): Promise<string> {
  const [begin, ...lines] = (await pemOf(parts)).trim().split('\n');
  const der = Buffer.from(lines.slice(0, -1).join(''), 'base64');
  der[der.length - 1]! ^= 0xff;
  return [begin, der.toString('base64'), lines.at(-1), ''].join('\n');
}

/** A request that names one key and is signed with another. */
export async function mixedKeys(): Promise<KeyPair> {
  const { privateKey } = await keys;
  return { publicKey: (await generateKeys('ecdsa')).publicKey, privateKey };
}

/** RSA of 1024 bits. */
export async function weakKeys(): Promise<KeyPair> {
  const pair = generateKeyPairSync('rsa', { modulusLength: 1024 });
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  return {
    publicKey: pair.publicKey.toCryptoKey(algorithm, true, ['verify']),
    privateKey: await importSigningKey(pair.privateKey.export({ type: 'pkcs8', format: 'der' })),
  };
}

async function pemOf(parts: CsrParts): Promise<string> {
  const { dnsNames = [agentDnsName] } = parts;
  const subject = { ...registeredSubject(parts), ...parts.subject };
  return await makeCertificateRequest(subject, parts.keys ?? (await keys), dnsNames);
}
