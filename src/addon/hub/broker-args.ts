import type { KubeObject } from '../../kube/client/kube-object.ts';
import { drainTimeoutMs } from '../compat/additional-args.ts';
import { clusterSettingsName, userServer } from '../api/names.ts';
import type { RedisSpec, SecretKey } from '../configuration/spec.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { BrokerRedis } from './hub-secrets.ts';
import type { TlsProfile } from './tls-profile.ts';

/**
 * Mount paths of the volumes. The slashes at the end are from Cluster Proxy. The API server
 * compares mounts by path at an upgrade.
 */
export const mountPaths = {
  serverCa: '/etc/server-ca-pki/',
  server: '/etc/server-pki/',
  agentServer: '/etc/agent-pki/',
  agentCa: '/etc/agent-ca/',
  replicaKey: '/etc/replica-key/',
  redisCa: '/etc/redis-ca/',
  enrolmentKeys: '/etc/enrolment-keys/',
  policy: '/etc/policy/',
  userServer: '/etc/user-server-pki/',
} as const;

export const brokerPorts = { client: 8090, agent: 8091, status: 8092 } as const;
/** Served only with the user-server. */
export const userPort = userServer.port;

/** The options of the addon manager for the hub. */
export interface HubSettings {
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Names of Secrets in the brokers' namespace. */
  readonly imagePullSecrets: readonly string[];
  readonly enableNetworkPolicies: boolean;
  /** Ports of kube-apiservers that NetworkPolicies allow. Empty: every TCP port. */
  readonly apiServerPorts: readonly number[];
  /** Whether brokers serve the user-server, Cluster Proxy's name for the HTTP plane. */
  readonly enableServiceProxy: boolean;
  /** The ConfigMap with the Services that clients may reach, in the namespace of the brokers. */
  readonly exposedServicesConfigmap: string;
  /** The Redis for a configuration without one. */
  readonly redis: RedisSpec | undefined;
}

/** Everything from which the brokers' pods are rendered. */
export interface BrokerInput extends Omit<HubSettings, 'redis'> {
  readonly configuration: ManagedProxyConfiguration;
  readonly redis: BrokerRedis | undefined;
  /** Public keys of enrolment tokens. Undefined: no tokens are accepted. */
  readonly enrolmentKeys: SecretKey | undefined;
  /**
   * The ConfigMap with the Services that clients of the user-server may reach. Undefined: brokers do
   * not serve the user-server's port.
   */
  readonly exposedServices: string | undefined;
  readonly tls: TlsProfile;
  /**
   * Whether a ConfigMap sets the profile. Then it overrides `additionalArgs`, as in Cluster Proxy.
   */
  readonly hasTlsProfile: boolean;
  readonly replicas: number;
  /** The Deployment as it is. */
  readonly live: KubeObject | undefined;
}

/** The command line of `culvert broker` in its container. */
export function brokerArgs(input: BrokerInput): readonly string[] {
  const { configuration, redis, enrolmentKeys, exposedServices } = input;
  const { namespace, inClusterServiceName } = configuration.spec.proxyServer;
  const args = ['broker'];
  const flag = (name: string, value: string | undefined) => {
    if (value !== undefined) args.push(`--${name}=${value}`);
  };
  flag('listen', `[::]:${brokerPorts.agent}`);
  flag('tls-cert', `${mountPaths.agentServer}tls.crt`);
  flag('tls-key', `${mountPaths.agentServer}tls.key`);
  flag('agent-ca', `${mountPaths.agentCa}ca.crt`);
  flag('konnectivity-listen', `[::]:${brokerPorts.client}`);
  flag('konnectivity-tls-cert', `${mountPaths.server}tls.crt`);
  flag('konnectivity-tls-key', `${mountPaths.server}tls.key`);
  flag('konnectivity-client-ca', `${mountPaths.serverCa}ca.crt`);
  flag('status-listen', `[::]:${brokerPorts.status}`);
  args.push('--kubernetes');
  flag('token-public-key', enrolmentKeys && `${mountPaths.enrolmentKeys}${enrolmentKeys.key}`);
  const { policyConfigMapRef: policy, hubAuthorization } = configuration.spec.proxyServer;
  flag('policy-file', policy && `${mountPaths.policy}${policy.key}`);
  if (hubAuthorization !== 'None') args.push('--hub-authorization');
  if (exposedServices !== undefined) {
    flag('gateway-listen', `[::]:${userPort}`);
    flag('gateway-tls-cert', `${mountPaths.userServer}tls.crt`);
    flag('gateway-tls-key', `${mountPaths.userServer}tls.key`);
    flag('exposed-services-configmap', `${namespace}/${exposedServices}`);
    flag('cluster-settings-configmap', `${namespace}/${clusterSettingsName}`);
  }
  if (redis !== undefined) {
    const { url, caSecretRef, prefix } = redis.spec;
    flag('replica-address', `wss://$(POD_IP):${brokerPorts.agent}`);
    flag('replica-ca', `${mountPaths.serverCa}ca.crt`);
    // Certificates have the names of Services, not the addresses of pods.
    flag('replica-server-name', `${inClusterServiceName}.${namespace}.svc`);
    flag('replica-key-file', `${mountPaths.replicaKey}key`);
    // A URL from a Secret is in the environment, because command lines are public.
    flag('redis-url', url);
    flag('redis-ca', caSecretRef && `${mountPaths.redisCa}${caSecretRef.key}`);
    flag('redis-prefix', prefix);
  }
  // The last value of each flag counts, as in Go.
  const given = new Map(configuration.brokerFlags.map(({ name, value }) => [name, value]));
  // The TLS flags come last, in the order and the form of Cluster Proxy.
  const ofProfile = {
    'cipher-suites': input.tls.cipherSuites.join(',') || undefined,
    'tls-min-version': input.tls.minVersion,
  };
  for (const [name, value] of given) if (!(name in ofProfile)) flag(name, value);
  for (const [name, value] of Object.entries(ofProfile)) {
    flag(name, input.hasTlsProfile ? value : given.get(name) || value);
  }
  return args;
}

/**
 * The delay before a pod stops, in seconds. It keeps serving while nodes remove it from the
 * endpoints of the Service, because konnectivity clients do not dial again after a refused
 * connection.
 */
export const preStopSeconds = 5;

/** The time for a pod to stop, in seconds: the delay, the drain, and 15 s to exit. */
export function terminationGraceSeconds({ brokerFlags }: ManagedProxyConfiguration): number {
  return preStopSeconds + Math.ceil(drainTimeoutMs(brokerFlags) / 1000) + 15;
}
