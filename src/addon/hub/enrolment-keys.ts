import { createPublicKey } from 'node:crypto';
import { publicKeyBlocks } from '../../base/tokens/public-key-blocks.ts';
import { textMap } from '../api/fields.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { FieldProblem } from '../api/field-problem.ts';
import { findObject } from '../api/objects.ts';
import type { SecretKey } from '../configuration/spec.ts';

/** Whose enrolment tokens brokers accept, besides agents that are registered with the hub. */
export interface EnrolmentKeys {
  /** Undefined: nobody's. Only what brokers can start with is given to them. */
  readonly ref: SecretKey | undefined;
  readonly problems: readonly FieldProblem[];
}

const field = 'spec.proxyServer.enrolmentKeysSecretRef';

/** What `spec.proxyServer.enrolmentKeysSecretRef` names, as far as it is there and holds public keys. */
export function enrolmentKeys(
  { spec }: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
): EnrolmentKeys {
  const { enrolmentKeysSecretRef: ref, namespace } = spec.proxyServer;
  if (ref === undefined) return { ref, problems: [] };
  const secret = findObject(observed, 'Secret', ref.name, namespace);
  const what = `Secret ${namespace}/${ref.name}`;
  const value = textMap(secret?.['data'])[ref.key];
  const refused = (sentence: string): EnrolmentKeys => ({
    ref: undefined,
    problems: [{ field, sentence: `${sentence}; until then brokers accept no enrolment tokens` }],
  });
  if (secret === undefined) {
    return refused(`names ${what}, which is not there; create it with the key ${ref.key}`);
  }
  if (value === undefined) {
    return refused(`names the key ${ref.key}, which ${what} does not have; add it`);
  }
  const wrong = problemOf(Buffer.from(value, 'base64').toString('latin1'));
  return wrong === undefined
    ? { ref, problems: [] }
    : refused(`names the key ${ref.key} of ${what}, ${wrong}`);
}

function problemOf(pem: string): string | undefined {
  if (pem.includes('PRIVATE KEY-----')) {
    return 'which holds a private key: make a new pair with culvert token keygen, and put its .pub file there';
  }
  return publicKeyBlocks(pem).every(isKey)
    ? undefined
    : 'which is not Ed25519 public keys in PEM: put the .pub file of culvert token keygen there';
}

function isKey(pem: string): boolean {
  try {
    return createPublicKey(pem).asymmetricKeyType === 'ed25519' && pem.includes('BEGIN PUBLIC KEY');
  } catch {
    return false;
  }
}
