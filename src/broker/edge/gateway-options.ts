import { type OidcOptions, oidcOptionProblems } from '../../access/oidc-options.ts';
import { type ClusterGroup, parseClusterSettings } from '../../access/cluster-settings.ts';
import { isDnsLabel } from '../../base/names/cluster-name.ts';
import { caProblemOf } from '../../gateway/edge/edge-providers.ts';
import type { ConfigMapName } from '../../gateway/edge/hub-server.ts';
import { ExposedServices, parseExposedServices } from '../../gateway/exposed-services.ts';
import { defaultUserLimits, type UserLimitValues } from '../../gateway/user-limits.ts';
import { parseYaml } from '../../kube/client/parse-yaml.ts';
import { accessVariables } from './access-options.ts';
import { type EdgeVariables, parseBoolean } from './edge-variables.ts';

/** Options of the gateway in the Worker. */
export interface EdgeGatewayOptions {
  /** The domain of `https://<cluster>.<domain>/`; undefined: only the path form. */
  readonly domain: string | undefined;
  readonly exposedServices: ExposedServices;
  readonly userLimits: UserLimitValues;
  readonly oidc: OidcOptions | undefined;
  /** Clusters whose users are authenticated in another way. */
  readonly clusterSettings: readonly ClusterGroup[];
  /** The ConfigMap of the hub cluster with these clusters; undefined: `clusterSettings` counts. */
  readonly clusterSettingsConfigMap: ConfigMapName | undefined;
}

export const gatewayVariables = {
  on: 'CULVERT_GATEWAY',
  domain: 'CULVERT_GATEWAY_DOMAIN',
  exposedServices: 'CULVERT_EXPOSED_SERVICES',
  maxRequests: 'CULVERT_GATEWAY_MAX_REQUESTS',
  maxWatches: 'CULVERT_GATEWAY_MAX_WATCHES',
  issuerUrl: 'CULVERT_OIDC_ISSUER_URL',
  clientId: 'CULVERT_OIDC_CLIENT_ID',
  usernameClaim: 'CULVERT_OIDC_USERNAME_CLAIM',
  usernamePrefix: 'CULVERT_OIDC_USERNAME_PREFIX',
  groupsClaim: 'CULVERT_OIDC_GROUPS_CLAIM',
  groupsPrefix: 'CULVERT_OIDC_GROUPS_PREFIX',
  reservedNamePrefixes: 'CULVERT_OIDC_RESERVED_NAME_PREFIXES',
  signingAlgs: 'CULVERT_OIDC_SIGNING_ALGS',
  requiredClaims: 'CULVERT_OIDC_REQUIRED_CLAIM',
  clusterSettings: 'CULVERT_CLUSTER_SETTINGS',
  clusterSettingsConfigMap: 'CULVERT_CLUSTER_SETTINGS_CONFIGMAP',
} as const;

/** The gateway that the variables ask for; undefined: none. Notes problems in `given`. */
export function readGatewayOptions(given: EdgeVariables): EdgeGatewayOptions | undefined {
  if (!given.read(gatewayVariables.on, false, parseBoolean)) {
    for (const name of Object.values(gatewayVariables)) {
      if (name !== gatewayVariables.on && given.has(name)) {
        given.problem(`${name} is for ${gatewayVariables.on}, which is not "true"`);
      }
    }
    return undefined;
  }
  const count = (name: string, otherwise: number): number =>
    given.read(name, otherwise, (text) => (/^[1-9]\d{0,6}$/.test(text) ? Number(text) : undefined));
  const maxConcurrent = count(gatewayVariables.maxRequests, defaultUserLimits.maxConcurrent);
  return {
    domain: given.read<string | undefined>(gatewayVariables.domain, undefined, parseDomain),
    exposedServices:
      given.readDocument(gatewayVariables.exposedServices, (text) =>
        parseExposedServices({ [gatewayVariables.exposedServices]: text }, parseYaml),
      ) ?? new ExposedServices([]),
    userLimits: {
      ...defaultUserLimits,
      maxConcurrent,
      maxQueued: 2 * maxConcurrent,
      maxLongRunning: count(gatewayVariables.maxWatches, defaultUserLimits.maxLongRunning),
    },
    oidc: readOidc(given),
    clusterSettings: given.readDocument(gatewayVariables.clusterSettings, parseSettings) ?? [],
    clusterSettingsConfigMap: readSettingsConfigMap(given),
  };
}

function readSettingsConfigMap(given: EdgeVariables): ConfigMapName | undefined {
  const { clusterSettings: text, clusterSettingsConfigMap: name } = gatewayVariables;
  const configMap = given.read<ConfigMapName | undefined>(name, undefined, parseConfigMapName);
  if (!given.has(name)) return undefined;
  if (given.has(text)) given.problem(`${text} and ${name} cannot be set together`);
  if (!given.has(accessVariables.hubUrl)) given.problem(`${name} needs ${accessVariables.hubUrl}`);
  return configMap;
}

/** `NAMESPACE/NAME`. */
function parseConfigMapName(text: string): ConfigMapName | undefined {
  const [namespace = '', name = '', ...rest] = text.split('/');
  const isName = rest.length === 0 && isDnsLabel(namespace) && name.split('.').every(isDnsLabel);
  return isName ? { namespace, name } : undefined;
}

/** The settings as the addon writes them. */
function parseSettings(text: string): readonly ClusterGroup[] {
  const groups = parseClusterSettings(text);
  for (const { clusters, oidc } of groups) {
    const problem = typeof oidc === 'object' ? caProblemOf(oidc) : undefined;
    if (problem !== undefined) throw new Error(`cluster ${clusters[0]}: ${problem}`);
  }
  return groups;
}

function readOidc(given: EdgeVariables): OidcOptions | undefined {
  const text = (name: string): string | undefined =>
    given.read<string | undefined>(name, undefined, (value) => value);
  const list = (name: string): readonly string[] | undefined =>
    text(name)
      ?.split(',')
      .map((part) => part.trim());
  const options: OidcOptions = {
    issuerUrl: text(gatewayVariables.issuerUrl) ?? '',
    clientId: text(gatewayVariables.clientId) ?? '',
    usernameClaim: text(gatewayVariables.usernameClaim),
    usernamePrefix: text(gatewayVariables.usernamePrefix),
    groupsClaim: text(gatewayVariables.groupsClaim),
    groupsPrefix: text(gatewayVariables.groupsPrefix),
    reservedNamePrefixes: list(gatewayVariables.reservedNamePrefixes),
    signingAlgs: list(gatewayVariables.signingAlgs),
    requiredClaims: given.read<Readonly<Record<string, string>> | undefined>(
      gatewayVariables.requiredClaims,
      undefined,
      parseClaims,
    ),
  };
  for (const problem of oidcOptionProblems(options)) given.problem(problem);
  return options.issuerUrl === '' ? undefined : options;
}

/** `claim=value,claim=value`. */
function parseClaims(text: string): Readonly<Record<string, string>> | undefined {
  const claims: [string, string][] = [];
  for (const part of text.split(',')) {
    const [, name, value] = /^\s*([^=]+)=(.*)$/.exec(part) ?? [];
    if (name === undefined || value === undefined) return undefined;
    claims.push([name, value]);
  }
  return Object.fromEntries(claims);
}

function parseDomain(text: string): string | undefined {
  const domain = text.toLowerCase();
  return domain.split('.').every(isDnsLabel) ? domain : undefined;
}
