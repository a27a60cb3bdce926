import { hostname } from 'node:os';
import {
  type OptionsDraft,
  readOptions,
  defaultOf,
  omitOptions,
} from '../base/options/read-options.ts';
import { didYouMean } from '../base/options/option-problems.ts';
import { processId, type ProgramOptions } from '../base/options/process-options.ts';
import { type Env, envOf, flagOf, type OptionsOf } from '../base/options/option-table.ts';
import { type ProgramFlag, takeFlags } from './compat/additional-args.ts';
import { klogFlags } from './compat/additional-args-table.ts';
import { addonProcessTable, allAddonTable } from './options-table.ts';
import type { RedisSpec } from './configuration/spec.ts';
import { brokerPassthroughTable } from '../base/options/passthrough-options.ts';

type AddonValues = OptionsOf<typeof allAddonTable>;

/** Rows that `startAddon` gets in another form or not at all. */
const derivedKeys = [
  ...(['redisUrl', 'redisSecretName', 'redisCaSecretName'] as const),
  ...(['featureGates', 'logLevel'] as const),
] as const;

/** Cluster Proxy's gates. */
const featureGates: readonly string[] = ['ClusterProfile'];

/**
 * The options of `startAddon`: a property for each row of `allAddonTable`, and what the pod's
 * environment says.
 */
export interface AddonOptions extends Omit<AddonValues, (typeof derivedKeys)[number]> {
  /** The namespace of this process. Its lease and the ConfigMap `ocm-tls-profile` are there. */
  readonly namespace: string;
  /** The name of this process among the candidates for leadership. It must be unique. */
  readonly identity: string;
  /** The Redis of the brokers, unless the ManagedProxyConfiguration names another. */
  readonly redis: RedisSpec | undefined;
  /** The feature gates that are on. */
  readonly features: ReadonlySet<string>;
}

/**
 * Reads the options of `culvert addon`. POD_NAMESPACE and POD_NAME come from the pod and have no
 * flags.
 *
 * @throws ConfigError with all problems together
 */
export function readAddonOptions(argv: readonly string[], env: Env): ProgramOptions<AddonOptions> {
  const klog = takeFlags(argv, klogFlags);
  const level = klog.flags.findLast(({ name }) => name === addonProcessTable.logLevel.name);
  const ours = [...klog.rest, ...logLevelArgs(level, klog.rest, env)];
  const { values, warnings } = readOptions(allAddonTable, ours, env, (draft) => {
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
  const options: AddonOptions = Object.freeze({
    ...omitOptions(values, derivedKeys),
    namespace: env['POD_NAMESPACE']!,
    identity: env['POD_NAME'] || processId(hostname()),
    redis: redisOf(values),
    features: new Set(gatesOf(values).flatMap(([name, text]) => (text === 'true' ? [name] : []))),
  });
  return { options, logLevel: values.logLevel, warnings };
}

/** The flag that `--v` stands for, unless `--log-level` or its variable is set. */
function logLevelArgs(level: ProgramFlag | undefined, argv: readonly string[], env: Env) {
  const { logLevel } = addonProcessTable;
  const isGiven = argv.some((arg) => arg.split('=', 1)[0] === flagOf(logLevel));
  if (level === undefined || isGiven || env[envOf(logLevel)]) return [];
  return [`${flagOf(logLevel)}=${level.value}`];
}

/** The gates as the option names them, with the text after the equals sign. */
function gatesOf({ featureGates: texts }: Pick<AddonValues, 'featureGates'>) {
  return texts
    .flatMap((text) => text.split(','))
    .map((gate) => gate.split('=', 2))
    .map(([name = '', text = '']) => [name, text] as const);
}

function redisOf(values: AddonValues): RedisSpec | undefined {
  const { redisUrl: url, redisSecretName: secret, redisCaSecretName: ca } = values;
  if (url === undefined && secret === undefined) return undefined;
  return Object.freeze({
    url,
    secretRef: secret === undefined ? undefined : { name: secret, key: 'url' },
    caSecretRef: ca === undefined ? undefined : { name: ca, key: 'ca.crt' },
    prefix: defaultOf(brokerPassthroughTable.redisPrefix),
  });
}

function checkAddon(draft: OptionsDraft<typeof allAddonTable>): void {
  const { values, given, label, problem } = draft;
  if (given('redisUrl') && given('redisSecretName')) {
    problem(`${label('redisUrl')} and ${label('redisSecretName')} both name a Redis, keep one`);
  }
  if (given('redisCaSecretName') && !given('redisUrl') && !given('redisSecretName')) {
    problem(`${label('redisCaSecretName')} needs --redis-url or --redis-secret-name as well`);
  }
  const flag = label('featureGates');
  for (const [name, text] of gatesOf({ featureGates: values.featureGates ?? [] })) {
    if (!featureGates.includes(name)) {
      problem(
        `${flag} names ${JSON.stringify(name)}, which is no feature gate${didYouMean(name, featureGates)}; known: ${featureGates.join(', ')}`,
      );
    } else if (!/^(true|false)$/.test(text)) {
      problem(`${flag}: ${name} is true or false, not ${JSON.stringify(text)}`);
    }
  }
}
