import { AccessError } from './access-error.ts';
import { type OidcOptions, oidcOptionProblems } from './oidc-options.ts';

/** How a gateway authenticates the users of one cluster. */
export interface ClusterSettings {
  /** Whether tokens of the hub cluster are accepted. */
  readonly hubTokens: boolean;
  /** Undefined: the issuer of the gateway's options. `off`: no issuer. */
  readonly oidc?: ClusterIssuer | 'off' | undefined;
}

/** The OIDC issuer of a cluster. */
export interface ClusterIssuer {
  readonly options: OidcOptions;
  /** PEM of the CAs of the issuer's server; undefined: the well-known CAs. */
  readonly ca?: string | undefined;
  /** The reason why the CAs cannot be used. Then no token of the issuer is accepted. */
  readonly caProblem?: string | undefined;
}

/** Clusters that have the same settings. */
export interface ClusterGroup extends ClusterSettings {
  readonly clusters: readonly string[];
}

/** The key of the settings in their ConfigMap. */
export const clusterSettingsKey = 'settings.json';

/**
 * Writes the settings. Clusters with the same settings share a group, because a fleet has few
 * issuers, and a ConfigMap holds at most 1 MiB. A cluster in no group has the default: it accepts
 * tokens of the hub and of the issuer in the gateway's options. The same settings give the same
 * text.
 */
export function formatClusterSettings(settings: ReadonlyMap<string, ClusterSettings>): string {
  const groups = new Map<string, { clusters: string[]; settings: ClusterSettings }>();
  for (const [cluster, { hubTokens, oidc }] of settings) {
    if (hubTokens && oidc === undefined) continue;
    const key = JSON.stringify([hubTokens, oidc]);
    const group = groups.get(key) ?? { clusters: [], settings: { hubTokens, oidc } };
    group.clusters.push(cluster);
    groups.set(key, group);
  }
  const sorted = [...groups.values()].map((group) => ({
    clusters: group.clusters.toSorted(),
    ...group.settings,
  }));
  sorted.sort((a, b) => (a.clusters[0]! < b.clusters[0]! ? -1 : 1));
  return JSON.stringify({ groups: sorted });
}

/**
 * Reads what `formatClusterSettings` wrote.
 *
 * @throws AccessError `invalid_options` for the whole text, even if only one group is not valid
 */
export function parseClusterSettings(text: string): readonly ClusterGroup[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (thrown) {
    throw invalid('the text is no JSON', thrown);
  }
  return listOf(fieldsOf(value)['groups']).map(groupOf);
}

/**
 * Reads the settings in the data of their ConfigMap.
 *
 * @param data undefined: the ConfigMap does not exist
 * @throws AccessError `invalid_options` there are no settings, or they are not valid
 */
export function settingsInConfigMap(
  data: Readonly<Record<string, string>> | undefined,
): readonly ClusterGroup[] {
  if (data === undefined) throw invalid('it does not exist');
  const text = data[clusterSettingsKey];
  if (text === undefined) throw invalid(`it has no key ${clusterSettingsKey}`);
  return parseClusterSettings(text);
}

/** The settings of a cluster; undefined: it is in no group, and has the default. */
export function settingsOf(
  cluster: string,
  groups: readonly ClusterGroup[],
): ClusterSettings | undefined {
  return groups.find(({ clusters }) => clusters.includes(cluster));
}

function groupOf(value: unknown): ClusterGroup {
  const { clusters, hubTokens, oidc } = fieldsOf(value);
  if (typeof hubTokens !== 'boolean') throw invalid('hubTokens is not true or false');
  const names = listOf(clusters).map(textOf);
  if (oidc === undefined || oidc === 'off') return { clusters: names, hubTokens, oidc };
  const { options, ca, caProblem } = fieldsOf(oidc);
  const issuer = {
    options: issuerOf(options),
    ca: optional(ca, textOf),
    caProblem: optional(caProblem, textOf),
  };
  return { clusters: names, hubTokens, oidc: issuer };
}

function issuerOf(value: unknown): OidcOptions {
  const given = fieldsOf(value);
  const text = (name: string) => optional(given[name], textOf);
  const texts = (name: string) => optional(given[name], (list) => listOf(list).map(textOf));
  const claims = optional(given['requiredClaims'], (map) =>
    Object.fromEntries(Object.entries(fieldsOf(map)).map(([name, one]) => [name, textOf(one)])),
  );
  const options: OidcOptions = {
    issuerUrl: textOf(given['issuerUrl']),
    clientId: textOf(given['clientId']),
    usernameClaim: text('usernameClaim'),
    usernamePrefix: text('usernamePrefix'),
    groupsClaim: text('groupsClaim'),
    groupsPrefix: text('groupsPrefix'),
    reservedNamePrefixes: texts('reservedNamePrefixes'),
    signingAlgs: texts('signingAlgs'),
    requiredClaims: claims,
  };
  const problems = oidcOptionProblems(options);
  if (problems.length > 0 || options.issuerUrl === '') {
    throw invalid(problems.join('; ') || 'there is no OIDC issuer');
  }
  return options;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject) throw invalid('an object is missing');
  return value as Readonly<Record<string, unknown>>;
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw invalid('a list is missing');
  return value;
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw invalid('a text is missing');
  return value;
}

function optional<T>(value: unknown, read: (value: unknown) => T): T | undefined {
  return value === undefined ? undefined : read(value);
}

function invalid(text: string, cause?: unknown): AccessError {
  return new AccessError('invalid_options', text, { cause });
}
