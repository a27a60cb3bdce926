import { createPublicKey } from 'node:crypto';
import { publicKeyBlocks } from '../../base/tokens/public-key-blocks.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { FieldProblem } from '../api/field-problem.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { SecretKey } from '../configuration/spec.ts';
import { readSecretKey } from './secret-key.ts';

/**
 * The public keys of enrolment tokens that brokers accept, besides agents that are registered with
 * the hub.
 */
export interface EnrolmentKeys {
  /**
   * Undefined: brokers accept no enrolment tokens. Keys with which brokers could not start are left
   * out.
   */
  readonly ref: SecretKey | undefined;
  readonly problems: readonly FieldProblem[];
}

const field = 'spec.proxyServer.enrolmentKeysSecretRef';

/** Checks the keys that `spec.proxyServer.enrolmentKeysSecretRef` names. */
export function enrolmentKeys(
  { spec }: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
): EnrolmentKeys {
  const { enrolmentKeysSecretRef: ref, namespace } = spec.proxyServer;
  if (ref === undefined) return { ref, problems: [] };
  const { value, problem } = readSecretKey(observed, namespace, ref);
  const wrong = value && problemOf(value.toString('latin1'));
  const what = `names the key ${ref.key} of Secret ${namespace}/${ref.name}`;
  const sentence = problem ?? (wrong && `${what}, ${wrong}`);
  if (sentence === undefined) return { ref, problems: [] };
  return {
    ref: undefined,
    problems: [{ field, sentence: `${sentence}; until then brokers accept no enrolment tokens` }],
  };
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
