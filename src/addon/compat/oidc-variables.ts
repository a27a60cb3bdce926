import { type OidcOptions, oidcOptionProblems } from '../../access/oidc-options.ts';
import { isFields } from '../api/fields.ts';

const configMapName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Readers of Cluster Proxy's variables about OIDC. They throw a sentence about a wrong value. */
export const oidcReaders = {
  oidcIssuerURL: asText,
  oidcClientID: asText,
  oidcUsernameClaim: asText,
  oidcUsernamePrefix: asText,
  oidcGroupsClaim: asText,
  oidcGroupsPrefix: asText,
  oidcReservedNamePrefixes: (value: string) => listOf(value),
  oidcSigningAlgs: (value: string) => (value === '' ? undefined : listOf(value)),
  oidcRequiredClaimsJSON: readClaims,
  oidcCAConfigMap(value: string) {
    if (value === '') return undefined;
    if (!configMapName.test(value)) throw new Error('is not a name for a ConfigMap');
    return value;
  },
};

/** The variables about OIDC of a cluster, or of all clusters. */
export type OidcVariables = {
  -readonly [Name in keyof typeof oidcReaders]?: ReturnType<(typeof oidcReaders)[Name]>;
};

/** The issuer that variables name. */
export interface OidcVariablesIssuer {
  readonly options: OidcOptions;
  /** The ConfigMap with the CAs of the issuer's server, in the key `ca.crt`. */
  readonly caConfigMap: string | undefined;
}

/**
 * The issuer of a cluster. A cluster that names an issuer or a client ID takes nothing from the
 * fleet, because claims and prefixes belong to their issuer. An empty name switches OIDC off.
 */
export function oidcIssuerOf(
  cluster: OidcVariables,
  fleet: OidcVariables,
): { readonly issuer: OidcVariablesIssuer | undefined; readonly problems: readonly string[] } {
  const isOwn = cluster.oidcIssuerURL !== undefined || cluster.oidcClientID !== undefined;
  const variables = isOwn ? cluster : { ...fleet, ...cluster };
  const { oidcIssuerURL: issuerUrl = '', oidcClientID: clientId = '' } = variables;
  const options: OidcOptions = {
    issuerUrl,
    clientId,
    usernameClaim: variables.oidcUsernameClaim || undefined,
    usernamePrefix: variables.oidcUsernamePrefix || undefined,
    groupsClaim: variables.oidcGroupsClaim || undefined,
    groupsPrefix: variables.oidcGroupsPrefix || undefined,
    reservedNamePrefixes: variables.oidcReservedNamePrefixes,
    signingAlgs: variables.oidcSigningAlgs,
    requiredClaims: variables.oidcRequiredClaimsJSON,
  };
  const problems = oidcOptionProblems(options).map(withVariableNames);
  if (problems.length > 0 || issuerUrl === '') return { issuer: undefined, problems };
  return { issuer: { options, caConfigMap: variables.oidcCAConfigMap }, problems };
}

/** Replaces the names of flags by those of variables. */
function withVariableNames(problem: string): string {
  const names = new Map(
    Object.keys(oidcReaders).map((name) => [name.toLowerCase().replace(/json$/, ''), name]),
  );
  return problem.replaceAll(/--([a-z-]+)/g, (flag, name: string) => {
    const key = name.replaceAll('-', '');
    return names.get(key) ?? names.get(`${key}s`) ?? flag;
  });
}

function asText(value: string): string {
  return value;
}

function listOf(value: string): readonly string[] {
  return value === '' ? [] : value.split(',').map((item) => item.trim());
}

function readClaims(value: string): Readonly<Record<string, string>> | undefined {
  if (value === '') return undefined;
  let claims: unknown;
  try {
    claims = JSON.parse(value);
  } catch {
    throw new Error('is no JSON');
  }
  if (!isFields(claims)) throw new Error('is no JSON object');
  for (const [name, claim] of Object.entries(claims)) {
    if (typeof claim !== 'string') throw new Error(`has a claim ${name} that is no text`);
  }
  return claims as Readonly<Record<string, string>>;
}
