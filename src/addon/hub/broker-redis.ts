import { createHmac } from 'node:crypto';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { FieldProblem } from '../api/field-problem.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { RedisSpec } from '../configuration/spec.ts';
import { readSecretKey } from './secret-key.ts';

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
