import { createHmac } from 'node:crypto';
import { textMap } from '../api/fields.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import type { FieldProblem } from '../api/field-problem.ts';
import { findObject } from '../api/objects.ts';
import type { RedisSpec, SecretKey } from '../configuration/spec.ts';

/** What several brokers need of Redis, as parts of their pods. */
export interface BrokerRedis {
  readonly spec: RedisSpec;
  /** Changes with the URL in the Secret: environment variables are read once. Keyed, as annotations are no secrets. */
  readonly hash: string | undefined;
  /** Secrets or keys that are named and not there. */
  readonly problems: readonly FieldProblem[];
  /** Ports that brokers connect to. */
  readonly ports: readonly number[];
}

/** The default port of Redis, its TLS twin and Sentinel's: what a Secret does not tell a NetworkPolicy. */
const usualPorts = [6379, 6380, 26_379];

const path = 'spec.proxyServer.redis';
/** Where the Redis of the addon manager's options is named. */
const optionFields = {
  secretRef: 'the option --redis-secret-name of the addon manager',
  caSecretRef: 'the option --redis-ca-secret-name of the addon manager',
} as const;

/** Redis as the configuration names it, else as the addon manager's options do; undefined where neither does. */
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
  const valueOf = (
    field: keyof typeof optionFields,
    ref: SecretKey | undefined,
  ): string | undefined => {
    if (ref === undefined) return undefined;
    const secret = findObject(observed, 'Secret', ref.name, namespace);
    const value = textMap(secret?.['data'])[ref.key];
    const what = `Secret ${namespace}/${ref.name}`;
    if (value === undefined) {
      const sentence =
        secret === undefined
          ? `names ${what}, which is not there; create it with the key ${ref.key}`
          : `names the key ${ref.key}, which ${what} does not have; add it`;
      problems.push({
        field: redis === undefined ? optionFields[field] : `${path}.${field}`,
        sentence,
      });
    }
    return value;
  };
  const url = valueOf('secretRef', spec.secretRef);
  valueOf('caSecretRef', spec.caSecretRef);
  return {
    spec,
    hash: url && createHmac('sha256', key).update(url).digest('hex').slice(0, 16),
    problems,
    ports: spec.url === undefined ? usualPorts : portsOf(spec.url),
  };
}

function portsOf(url: string): readonly number[] {
  const ports = [...url.matchAll(/:(\d{1,5})(?=[,/?\s]|$)/g)].map(([, port]) => Number(port));
  // Sentinel and cluster lead to servers whose ports are not in the URL.
  const isOne = /^rediss?:/.test(url.trim());
  return isOne && ports.length > 0 ? ports : [...new Set([...ports, ...usualPorts])];
}
