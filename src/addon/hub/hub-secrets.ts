import type { KubeObject } from '../../kube/client/kube-object.ts';
import { textMap } from '../api/fields.ts';
import { hubSecrets } from '../api/names.ts';
import { findObject, secret as secretObject } from '../api/objects.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import type { SecretKey, RedisSpec } from '../configuration/spec.ts';
import { createHmac, createPublicKey } from 'node:crypto';
import type { FieldProblem } from '../api/field-problem.ts';
import { publicKeyBlocks } from '../../base/tokens/public-key-blocks.ts';

/** The value of a key in a Secret of the hub's namespace, or the sentence about what is missing. */
export function readSecretKey(
  observed: readonly KubeObject[],
  namespace: string,
  { name, key }: SecretKey,
) {
  const secret = findObject(observed, 'Secret', name, namespace);
  const what = `Secret ${namespace}/${name}`;
  if (secret === undefined) {
    return { problem: `names ${what}, which does not exist; create it with the key ${key}` };
  }
  const value = textMap(secret['data'])[key];
  if (value === undefined) {
    return { problem: `names the key ${key}, which ${what} does not have; add it` };
  }
  return { value: Buffer.from(value, 'base64') };
}

/** A shorter key is not from the addon, and could be guessed. */
const minKeyLength = 32;

/**
 * The Secret with the key by which replicas recognize each other. An existing key is kept,
 * otherwise the key is `freshKey`.
 */
export function replicaKeySecret(
  configuration: ManagedProxyConfiguration,
  observed: readonly KubeObject[],
  freshKey: string,
) {
  const ref = { name: hubSecrets.replicaKey, key: 'key' };
  const found = readSecretKey(observed, configuration.spec.proxyServer.namespace, ref).value;
  const isLong = found !== undefined && found.toString().trim().length >= minKeyLength;
  const key = (isLong ? found : Buffer.from(freshKey)).toString('base64');
  return { ...secretObject(hubMeta(configuration, ref.name), {}), data: { key } };
}

/** The Redis of several brokers, for their pods. */
export type BrokerRedis = Readonly<NonNullable<ReturnType<typeof brokerRedis>>>;

/**
 * The default port of Redis, that of Redis over TLS, and Sentinel's. A NetworkPolicy allows them
 * when the URL is in a Secret.
 */
const usualPorts = [6379, 6380, 26_379];

const path = 'spec.proxyServer.redis';
const optionFields = {
  secretRef: 'the option --redis-secret-name of the addon manager',
  caSecretRef: 'the option --redis-ca-secret-name of the addon manager',
} as const;

/** The Redis in the configuration, or else in the options of the addon manager. Undefined: none. */
export function brokerRedis(
  configuration: ManagedProxyConfiguration,
  fallback: RedisSpec | undefined,
  observed: readonly KubeObject[],
  key: string,
) {
  const { redis, namespace } = configuration.spec.proxyServer;
  const spec = redis ?? fallback;
  if (spec === undefined) return undefined;
  const problems: FieldProblem[] = [];
  const valueOf = (field: keyof typeof optionFields): Buffer | undefined => {
    const ref = spec[field];
    if (ref === undefined) return undefined;
    const { value, problem } = readSecretKey(observed, namespace, ref);
    const place = redis === undefined ? optionFields[field] : `${path}.${field}`;
    if (problem !== undefined) problems.push({ field: place, sentence: problem });
    return value;
  };
  const url = valueOf('secretRef');
  valueOf('caSecretRef');
  return {
    spec,
    /**
     * Changes with the URL, so that pods are replaced: they read variables once. Keyed, because
     * annotations are public.
     */
    hash:
      url && createHmac('sha256', key).update(url.toString('base64')).digest('hex').slice(0, 16),
    /** Secrets or keys that do not exist. */
    problems: problems as readonly FieldProblem[],
    /** Ports that brokers connect to. */
    ports: spec.url === undefined ? usualPorts : portsOf(spec.url),
  };
}

function portsOf(url: string): readonly number[] {
  const ports = [...url.matchAll(/:(\d{1,5})(?=[,/?\s]|$)/g)].map(([, port]) => Number(port));
  // Sentinel and cluster lead to servers whose ports are not in the URL.
  const isSingle = /^rediss?:/.test(url.trim());
  return isSingle && ports.length > 0 ? ports : [...new Set([...ports, ...usualPorts])];
}

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
  const consequence = 'until then brokers accept no enrolment tokens';
  return { ref: undefined, problems: [{ field, sentence: `${sentence}; ${consequence}` }] };
}

function problemOf(pem: string): string | undefined {
  if (pem.includes('PRIVATE KEY-----')) {
    return 'which holds a private key: make a new pair with culvert token keygen, and put its .pub file there';
  }
  if (publicKeyBlocks(pem).every(isKey)) return undefined;
  return 'which is not Ed25519 public keys in PEM: put the .pub file of culvert token keygen there';
}

function isKey(pem: string): boolean {
  try {
    return createPublicKey(pem).asymmetricKeyType === 'ed25519' && pem.includes('BEGIN PUBLIC KEY');
  } catch {
    return false;
  }
}
