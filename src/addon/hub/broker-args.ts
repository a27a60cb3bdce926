import { drainTimeoutMs, type ProgramFlag } from '../compat/additional-args.ts';
import type { SecretKey } from '../configuration/spec.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import type { BrokerRedis } from './broker-redis.ts';
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
} as const;

export const brokerPorts = { client: 8090, agent: 8091, status: 8092 } as const;

export interface BrokerArgsOptions {
  readonly redis: BrokerRedis | undefined;
  /** Public keys of enrolment tokens. Undefined: no tokens are accepted. */
  readonly enrolmentKeys: SecretKey | undefined;
  readonly tls: TlsProfile;
  /**
   * Whether a ConfigMap sets the profile. Then it overrides `additionalArgs`, as in Cluster Proxy.
   */
  readonly hasTlsProfile: boolean;
}

/** The command line of `culvert broker` in its container. */
export function brokerArgs(
  configuration: ManagedProxyConfiguration,
  { redis, enrolmentKeys, tls, hasTlsProfile }: BrokerArgsOptions,
): readonly string[] {
  const { namespace, inClusterServiceName } = configuration.spec.proxyServer;
  const args = ['broker'];
  const flag = (name: string, value: string) => args.push(`--${name}=${value}`);
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
  if (enrolmentKeys !== undefined) {
    flag('token-public-key', `${mountPaths.enrolmentKeys}${enrolmentKeys.key}`);
  }
  if (redis !== undefined) {
    const { url, caSecretRef, prefix } = redis.spec;
    flag('replica-address', `wss://$(POD_IP):${brokerPorts.agent}`);
    flag('replica-ca', `${mountPaths.serverCa}ca.crt`);
    // Certificates have the names of Services, not the addresses of pods.
    flag('replica-server-name', `${inClusterServiceName}.${namespace}.svc`);
    flag('replica-key-file', `${mountPaths.replicaKey}key`);
    // A URL from a Secret is in the environment, because command lines are public.
    if (url !== undefined) flag('redis-url', url);
    if (caSecretRef !== undefined) flag('redis-ca', `${mountPaths.redisCa}${caSecretRef.key}`);
    flag('redis-prefix', prefix);
  }
  for (const { name, value } of lastOfEach(configuration.brokerFlags)) {
    if (!(name in tlsFlags)) flag(name, value);
  }
  return [...args, ...tlsArgs(configuration, tls, hasTlsProfile)];
}

const tlsFlags = { 'cipher-suites': true, 'tls-min-version': true } as const;

/** The TLS flags, in the order and the form of Cluster Proxy. */
function tlsArgs(
  { brokerFlags }: ManagedProxyConfiguration,
  { cipherSuites, minVersion }: TlsProfile,
  hasTlsProfile: boolean,
): readonly string[] {
  const given = (name: keyof typeof tlsFlags) =>
    hasTlsProfile ? undefined : brokerFlags.findLast((flag) => flag.name === name)?.value;
  const suites = given('cipher-suites') ?? cipherSuites.join(',');
  return [
    ...(suites === '' ? [] : [`--cipher-suites=${suites}`]),
    `--tls-min-version=${given('tls-min-version') ?? minVersion}`,
  ];
}

/** The last value of each flag, as in Go. */
function lastOfEach(flags: readonly ProgramFlag[]): readonly ProgramFlag[] {
  return [...new Map(flags.map((flag) => [flag.name, flag])).values()];
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
