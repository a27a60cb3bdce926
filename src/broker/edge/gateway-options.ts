import { type OidcOptions, oidcOptionProblems } from '../../access/oidc-options.ts';
import { Policy } from '../../access/policy.ts';
import { describeError } from '../../base/error.ts';
import { isDnsLabel } from '../../base/names/cluster-name.ts';
import { ExposedServices, parseExposedServices } from '../../gateway/exposed-services.ts';
import { defaultUserLimits, type UserLimitValues } from '../../gateway/user-limits.ts';
import { parseYaml } from '../../kube/client/parse-yaml.ts';
import { type EdgeVariables, parseBoolean } from './edge-variables.ts';

/** The hub cluster's API server, which the runtime reaches by `fetch`. */
export interface HubServer {
  readonly url: URL;
  readonly token: string;
}

/** Options of the gateway in the Worker. */
export interface EdgeGatewayOptions {
  /** The domain of `https://<cluster>.<domain>/`; undefined: only the path form. */
  readonly domain: string | undefined;
  readonly exposedServices: ExposedServices;
  readonly userLimits: UserLimitValues;
  readonly oidc: OidcOptions | undefined;
  /** A policy document, which is valid; undefined: each user may do everything. */
  readonly policy: unknown;
  readonly hub: HubServer | undefined;
  /** The hub cluster's RBAC decides as well. */
  readonly asksHubAccess: boolean;
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
  policy: 'CULVERT_POLICY',
  hubUrl: 'CULVERT_HUB_API_SERVER',
  hubToken: 'CULVERT_HUB_API_TOKEN',
  accessReview: 'CULVERT_SUBJECT_ACCESS_REVIEW',
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
  const hub = readHub(given);
  const asksHubAccess = given.read(gatewayVariables.accessReview, false, parseBoolean);
  if (asksHubAccess && hub === undefined) {
    given.problem(`${gatewayVariables.accessReview} needs ${gatewayVariables.hubUrl} as well`);
  }
  return {
    domain: given.read<string | undefined>(gatewayVariables.domain, undefined, parseDomain),
    exposedServices:
      readDocument(given, gatewayVariables.exposedServices, (text) =>
        parseExposedServices({ [gatewayVariables.exposedServices]: text }, parseYaml),
      ) ?? new ExposedServices([]),
    userLimits: {
      ...defaultUserLimits,
      maxConcurrent,
      maxQueued: 2 * maxConcurrent,
      maxLongRunning: count(gatewayVariables.maxWatches, defaultUserLimits.maxLongRunning),
    },
    oidc: readOidc(given),
    policy: readDocument(given, gatewayVariables.policy, (text) => {
      const document = parseYaml(text);
      Policy.parse(document);
      return document;
    }),
    hub,
    asksHubAccess,
  };
}

function readDocument<T>(
  given: EdgeVariables,
  name: string,
  parse: (text: string) => T,
): T | undefined {
  return given.read<T | undefined>(name, undefined, (text) => {
    try {
      return parse(text);
    } catch (thrown) {
      // The text of a YAML error may quote the document, which is no secret.
      given.problem(`${name}: ${describeError(thrown)}`);
      return undefined;
    }
  });
}

function readHub(given: EdgeVariables): HubServer | undefined {
  const url = given.read<URL | undefined>(gatewayVariables.hubUrl, undefined, parseServerUrl);
  const token = given.read(gatewayVariables.hubToken, '', (text) => text.trim());
  if ((url === undefined) !== (token === '')) {
    given.problem(
      `${gatewayVariables.hubUrl} and ${gatewayVariables.hubToken} must be set together`,
    );
  }
  return url === undefined ? undefined : { url, token };
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

/** https, because the token goes there; plain HTTP on this machine is for tests. */
function parseServerUrl(text: string): URL | undefined {
  const url = URL.parse(text);
  if (url === null || url.search !== '' || url.username !== '') return undefined;
  const isLocal = url.protocol === 'http:' && url.hostname === '127.0.0.1';
  return url.protocol === 'https:' || isLocal ? url : undefined;
}
