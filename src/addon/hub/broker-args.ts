import type { ProgramFlag } from '../compat/additional-args.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { processTable } from '../../base/options/process-options.ts';
import { valueAmong } from '../../base/options/read-options.ts';
import type { BrokerRedis } from './broker-redis.ts';
import type { TlsProfile } from './tls-profile.ts';
import type { SecretKey } from '../configuration/spec.ts';

/** Where the pod's volumes are mounted: with upstream's slashes, by which the API server tells mounts apart at an upgrade. */
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
  /** Public keys of enrolment tokens that are accepted; undefined: none. */
  readonly enrolmentKeys: SecretKey | undefined;
  readonly tls: TlsProfile;
  /** Whether a ConfigMap set the profile: then it is stronger than `additionalArgs`, as upstream has it. */
  readonly hasTlsProfile: boolean;
}

/** How `culvert broker` is started in the pods. */
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
    // The certificate names Services, not the addresses of pods.
    flag('replica-server-name', `${inClusterServiceName}.${namespace}.svc`);
    flag('replica-key-file', `${mountPaths.replicaKey}key`);
    // A URL from a Secret comes in the environment: command lines are public.
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

/** In the order and the form that upstream's users look for. */
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

/** As Go's flags: of several the last counts. */
function lastOfEach(flags: readonly ProgramFlag[]): readonly ProgramFlag[] {
  return [...new Map(flags.map((flag) => [flag.name, flag])).values()];
}

/**
 * How long a broker that is to end goes on as if nothing were, in seconds. From the beginning of it no Service leads to it any more, but
 * every node needs a moment to hear that, and konnectivity clients do not dial again when they are refused.
 */
export const leaveSeconds = 5;

/** How long a broker's pod may take to end, in seconds: to be left, to drain, and a little more. */
export function terminationGraceSeconds({ brokerFlags }: ManagedProxyConfiguration): number {
  const flags = brokerFlags.map(({ name, value }) => [name, value] as const);
  const drainMs = valueAmong(processTable.drainTimeoutMs, flags);
  return leaveSeconds + Math.ceil(drainMs / 1000) + 15;
}
