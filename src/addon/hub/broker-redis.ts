import { createHmac } from 'node:crypto';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { FieldProblem } from '../api/field-problem.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { RedisSpec } from '../configuration/spec.ts';
import { readSecretKey } from './secret-key.ts';

/** The Redis of several brokers, for their pods. */
export interface BrokerRedis {
  readonly spec: RedisSpec;
  /**
   * Changes with the URL in the Secret, so that pods are replaced: they read environment variables once. The hash is keyed, because
   * annotations are public.
   */
  readonly hash: string | undefined;
  /** Secrets or keys that do not exist. */
  readonly problems: readonly FieldProblem[];
  /** Ports that brokers connect to. */
  readonly ports: readonly number[];
}

/** The default port of Redis, that of Redis over TLS, and Sentinel's. A NetworkPolicy allows them when the URL is in a Secret. */
const usualPorts = [6379, 6380, 26_379];

const path = 'spec.proxyServer.redis';
const optionFields = {
  secretRef: 'the option --redis-secret-name of the addon manager',
  caSecretRef: 'the option --redis-ca-secret-name of the addon manager',
} as const;

/** The Redis in the configuration, or else in the options of the addon manager. Undefined: none. */
export function brokerRedis(
  configuration: ManagedProxyConfiguration,
  {
    fallback,
    observed,
    key,
  }: { fallback: RedisSpec | undefined; observed: readonly KubeObject[]; key: string },
): BrokerRedis | undefined {
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
    hash:
      url && createHmac('sha256', key).update(url.toString('base64')).digest('hex').slice(0, 16),
    problems,
    ports: spec.url === undefined ? usualPorts : portsOf(spec.url),
  };
}

function portsOf(url: string): readonly number[] {
  const ports = [...url.matchAll(/:(\d{1,5})(?=[,/?\s]|$)/g)].map(([, port]) => Number(port));
  // Sentinel and cluster lead to servers whose ports are not in the URL.
  const isSingle = /^rediss?:/.test(url.trim());
  return isSingle && ports.length > 0 ? ports : [...new Set([...ports, ...usualPorts])];
}
