import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { type HubObserved, type HubPlan, planHub } from '../../../src/addon/hub/plan-hub.ts';
import type { RedisSpec } from '../../../src/addon/configuration/spec.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { fields, type Fields } from '../../../src/addon/api/fields.ts';

export const hub = 'open-cluster-management-cluster-proxy';
export const uid = '6b0c4f7e-0000-4000-8000-000000000001';
export const redis: RedisSpec = {
  url: 'redis://cluster-proxy-redis:6379',
  secretRef: undefined,
  caSecretRef: undefined,
  prefix: 'culvert:',
};

/** The default spec of the chart, with changes of its two workloads. */
export function configurationObject(
  proxyServer: Fields = {},
  proxyAgent: Fields = {},
  generation = 1,
): KubeObject {
  return {
    apiVersion: 'proxy.open-cluster-management.io/v1alpha1',
    kind: 'ManagedProxyConfiguration',
    metadata: { name: 'cluster-proxy', uid, generation },
    spec: {
      authentication: { dump: { secrets: {} }, signer: { type: 'SelfSigned' } },
      proxyServer: {
        image: 'quay.io/open-cluster-management/cluster-proxy:v1.0.0',
        namespace: hub,
        entrypoint: { type: 'PortForward', port: 8091 },
        ...proxyServer,
      },
      proxyAgent: { image: 'quay.io/open-cluster-management/cluster-proxy:v1.0.0', ...proxyAgent },
    },
  };
}

export const configurationOf = (...parameters: Parameters<typeof configurationObject>) =>
  parseManagedProxyConfiguration(configurationObject(...parameters));

export const entrypointOf = (entrypoint: Fields, rest: Fields = {}) =>
  configurationOf({ entrypoint, ...rest });

export function observe(
  configuration = configurationOf(),
  {
    settings,
    ...more
  }: Partial<Omit<HubObserved, 'settings'>> & { settings?: Partial<HubObserved['settings']> } = {},
): HubObserved {
  return {
    configuration,
    settings: {
      imagePullPolicy: 'IfNotPresent',
      imagePullSecrets: [],
      enableNetworkPolicies: false,
      apiServerPorts: [],
      enableServiceProxy: false,
      exposedServicesConfigmap: 'cluster-proxy-exposed-services',
      redis,
      ...settings,
    },
    objects: [],
    tlsProfile: undefined,
    freshReplicaKey: 'a-key-of-thirty-two-letters-at-least',
    ...more,
  };
}

export const plan = (...parameters: Parameters<typeof observe>) => planHub(observe(...parameters));

export function rendered({ apply }: HubPlan, kind: string, name?: string): KubeObject {
  const found = apply.filter(
    (object) => object.kind === kind && (name === undefined || object.metadata.name === name),
  );
  if (found.length !== 1) throw new Error(`${found.length} objects of kind ${kind}, 1 expected`);
  return found[0]!;
}

export const kindsOf = ({ apply }: HubPlan): string[] =>
  apply.map(({ kind, metadata }) => `${kind} ${metadata.name}`);

export const deploymentOf = (from: HubPlan) =>
  rendered(from, 'Deployment') as KubeObject & { spec: Fields };

export const podOf = (from: HubPlan): Fields =>
  fields(fields(deploymentOf(from)['spec'])['template']);

/** The only container of the brokers' pods. */
export function containerOf(from: HubPlan): Fields {
  const containers = fields(podOf(from)['spec'])['containers'] as Fields[];
  if (containers.length !== 1) throw new Error('one container is expected');
  return containers[0]!;
}

export const argsOf = (from: HubPlan) => containerOf(from)['args'] as string[];

export const loadBalancer = (ingress?: unknown, name = 'proxy-agent-entrypoint'): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: hub },
  status: { loadBalancer: ingress === undefined ? {} : { ingress } },
});

export const secret = (name: string, data: Readonly<Record<string, string>>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: hub },
  data: Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
  ),
});

export const tlsProfile = (data: Readonly<Record<string, string>>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'ocm-tls-profile', namespace: hub },
  data,
});
