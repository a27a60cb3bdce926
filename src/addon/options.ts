import { hostname } from 'node:os';
import { type OptionsDraft, readOptions } from '../base/options/read-options.ts';
import { didYouMean } from '../base/options/option-problems.ts';
import { processId, type ProgramOptions } from '../base/options/process-options.ts';
import { type Env, envOf, flagOf, type OptionsOf } from '../base/options/option-table.ts';
import { type ProgramFlag, takeFlags } from './compat/additional-args.ts';
import { klogFlags } from './compat/additional-args-table.ts';
import {
  type FeatureGates,
  featureGateNames,
  isFeatureGate,
  parseFeatureGates,
} from './feature-gates.ts';
import {
  addonAgentTable,
  addonCertificatesTable,
  addonProcessTable,
  addonRedisTable,
  addonTable,
} from './options-table.ts';
import { isListenAddress, type ListenAddress, parseListenAddress } from './listen-address.ts';
import type { RedisSpec } from './configuration/spec.ts';
import { objectNameCheck, redisUrlCheck } from './configuration/text-checks.ts';

/** What the addon manager is told. The names of its flags are those of Cluster Proxy's manager. */
export interface AddonOptions {
  /** A kubeconfig file; undefined inside a pod, whose ServiceAccount is used. */
  readonly kubeconfig: string | undefined;
  /** Where this process runs: its lease and the ConfigMap `ocm-tls-profile` are there. */
  readonly namespace: string;
  /** Names this process among the candidates for leadership; unique. */
  readonly identity: string;
  /** Undefined: no metrics are served. */
  readonly metricsListen: ListenAddress | undefined;
  /** Undefined: no probes are answered. */
  readonly healthListen: ListenAddress | undefined;
  /** Whether to work only while holding the lease `cluster-proxy-addon-manager`. */
  readonly leaderElect: boolean;
  readonly signerSecretNamespace: string;
  /** The Secret with the CA of the konnectivity side. */
  readonly signerSecretName: string;
  /** The image of agents; undefined: what the ManagedProxyConfiguration names. */
  readonly agentImage: string | undefined;
  /** Whether agents lead to their kube-apiservers, unless an AddOnDeploymentConfig says otherwise. */
  readonly enableKubeApiProxy: boolean;
  readonly enableNetworkPolicies: boolean;
  /** What NetworkPolicies let out to: ports of kube-apiservers; empty: every TCP port. */
  readonly apiServerPorts: readonly number[];
  /** Where agents are installed, unless an AddOnDeploymentConfig says otherwise. */
  readonly agentInstallNamespace: string;
  /** Of the brokers. */
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  /** Of the brokers: names of Secrets in their namespace. */
  readonly imagePullSecrets: readonly string[];
  /** The Redis of the brokers, where the ManagedProxyConfiguration names none. */
  readonly redis: RedisSpec | undefined;
  readonly featureGates: FeatureGates;
}

const allTable = {
  ...addonTable,
  ...addonCertificatesTable,
  ...addonAgentTable,
  ...addonRedisTable,
  ...addonProcessTable,
} as const;

/**
 * Reads what `culvert addon` is given. POD_NAMESPACE and POD_NAME come from the pod and have no flags.
 *
 * @throws ConfigError with every problem there is
 */
export function readAddonOptions(argv: readonly string[], env: Env): ProgramOptions<AddonOptions> {
  const klog = takeFlags(argv, klogFlags);
  const level = klog.flags.findLast(({ name }) => name === addonProcessTable.logLevel.name);
  const ours = [...klog.rest, ...logLevelArgs(level, klog.rest, env)];
  const { values, warnings } = readOptions(allTable, ours, env, (draft) => {
    checkAddon(draft);
    for (const { sentence } of klog.problems) draft.problem(sentence);
    for (const { sentence } of klog.ignored) draft.warn(`${sentence}; remove it`);
    if (level !== undefined) {
      draft.warn(`--v is --log-level=${level.value} here, unless that is given; give it instead`);
    }
    if (!env['POD_NAMESPACE']) {
      draft.problem(
        'POD_NAMESPACE is not set: it names the namespace that this process runs in, where its lease is; ' +
          'in a pod take it from metadata.namespace (fieldRef)',
      );
    }
  });
  const { kubeconfig, leaderElect, signerSecretNamespace, signerSecretName } = values;
  const { agentInstallNamespace, enableNetworkPolicies, imagePullPolicy } = values;
  const { enableKubeApiProxy, imagePullSecrets, apiServerPort: apiServerPorts } = values;
  const options: AddonOptions = Object.freeze({
    kubeconfig,
    namespace: env['POD_NAMESPACE']!,
    identity: env['POD_NAME'] || processId(hostname()),
    metricsListen: parseListenAddress(values.metricsBindAddress),
    healthListen: parseListenAddress(values.healthProbeBindAddress),
    leaderElect,
    signerSecretNamespace,
    signerSecretName,
    agentImage: values.agentImageName,
    enableKubeApiProxy,
    enableNetworkPolicies,
    apiServerPorts,
    agentInstallNamespace,
    imagePullPolicy,
    imagePullSecrets,
    redis: redisOf(values),
    featureGates: parseFeatureGates(values.featureGates),
  });
  return { options, logLevel: values.logLevel, warnings };
}

/** What `--v` comes to, where nobody says it in our words. */
function logLevelArgs(
  level: ProgramFlag | undefined,
  argv: readonly string[],
  env: Env,
): readonly string[] {
  const { logLevel } = addonProcessTable;
  const isGiven = argv.some((arg) => arg.split('=', 1)[0] === flagOf(logLevel));
  if (level === undefined || isGiven || env[envOf(logLevel)]) return [];
  return [`${flagOf(logLevel)}=${level.value}`];
}

function redisOf(values: OptionsOf<typeof addonRedisTable>): RedisSpec | undefined {
  const { redisUrl: url, redisSecretName: secret, redisCaSecretName: ca } = values;
  if (url === undefined && secret === undefined) return undefined;
  return Object.freeze({
    url,
    secretRef: secret === undefined ? undefined : { name: secret, key: 'url' },
    caSecretRef: ca === undefined ? undefined : { name: ca, key: 'ca.crt' },
    prefix: 'culvert:',
  });
}

function checkAddon({ values, given, label, problem, warn }: OptionsDraft<typeof allTable>): void {
  for (const key of ['metricsBindAddress', 'healthProbeBindAddress'] as const) {
    const text = values[key];
    if (text === undefined || isListenAddress(text)) continue;
    problem(
      `${label(key)}=${JSON.stringify(text)} is not [HOST]:PORT (:58080, 127.0.0.1:58080), nor 0 for nowhere`,
    );
  }
  for (const key of ['signerSecretName', 'redisSecretName', 'redisCaSecretName'] as const) {
    const name = values[key];
    const wrong = name === undefined ? undefined : objectNameCheck(name);
    if (wrong !== undefined) problem(`${label(key)} ${wrong}`);
  }
  for (const name of values.imagePullSecrets ?? []) {
    const wrong = objectNameCheck(name);
    if (wrong !== undefined) problem(`${label('imagePullSecrets')} ${wrong}`);
  }
  const wrongUrl = values.redisUrl === undefined ? undefined : redisUrlCheck(values.redisUrl);
  if (wrongUrl !== undefined) problem(`${label('redisUrl')} ${wrongUrl}`);
  if (given('redisUrl') && given('redisSecretName')) {
    problem(`${label('redisUrl')} and ${label('redisSecretName')} both name a Redis, keep one`);
  }
  if (given('redisCaSecretName') && !given('redisUrl') && !given('redisSecretName')) {
    problem(`${label('redisCaSecretName')} needs --redis-url or --redis-secret-name as well`);
  }
  for (const gate of (values.featureGates ?? []).flatMap((text) => text.split(','))) {
    const [gateName = '', text = ''] = gate.split('=', 2);
    if (!isFeatureGate(gateName)) {
      problem(
        `${label('featureGates')} names ${JSON.stringify(gateName)}, which is no feature gate${didYouMean(gateName, featureGateNames)}; known: ${featureGateNames.join(', ')}`,
      );
    } else if (!/^(true|false)$/.test(text)) {
      problem(
        `${label('featureGates')}: ${gateName} is true or false, not ${JSON.stringify(text)}`,
      );
    } else if (text === 'true') {
      warn(
        `${label('featureGates')}: ${gateName} does nothing yet, ClusterProfiles get no access provider`,
      );
    }
  }
  if (given('enableServiceProxy') && values.enableServiceProxy) {
    warn(
      `${label('enableServiceProxy')} does nothing yet: there is no user-server, only konnectivity clients are served`,
    );
  }
}
