import { createPublicKey } from 'node:crypto';
import { publicKeyBlocks } from '../../base/tokens/public-key-blocks.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { readSecretKey } from './secret-key.ts';

const field = 'spec.proxyServer.enrolmentKeysSecretRef';

/**
 * Checks the keys that `spec.proxyServer.enrolmentKeysSecretRef` names: the public keys of enrolment
 * tokens that brokers accept, besides agents that are registered with the hub. Without `ref` they
 * accept none, because they could not start with wrong keys.
 */
export function enrolmentKeys(
  { spec }: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
) {
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
