import type { OptionsOf, OptionsTable } from '../../base/options/option-table.ts';
import { ValueError } from '../../base/value-error.ts';
import { type OidcOptions, oidcOptionProblems } from '../oidc-options.ts';

/** Options of an OIDC issuer, with the names of upstream's service-proxy. */
export const oidcTable = {
  oidcIssuerUrl: {
    name: 'oidc-issuer-url',
    kind: 'string',
    placeholder: 'URL',
    help: 'The URL of an OIDC issuer whose tokens are accepted, beginning with https://. It needs --oidc-client-id.',
  },
  oidcClientId: {
    name: 'oidc-client-id',
    kind: 'string',
    placeholder: 'ID',
    help: 'The client ID for which the tokens of the issuer must be issued (their audience).',
  },
  oidcUsernameClaim: {
    name: 'oidc-username-claim',
    kind: 'string',
    placeholder: 'CLAIM',
    default: 'sub',
    help: 'The claim with the name of the user.',
  },
  oidcUsernamePrefix: {
    name: 'oidc-username-prefix',
    kind: 'string',
    placeholder: 'TEXT',
    help: 'The prefix of the names of users. Default: the issuer and #, or no prefix for the claim email. - means no prefix.',
  },
  oidcGroupsClaim: {
    name: 'oidc-groups-claim',
    kind: 'string',
    placeholder: 'CLAIM',
    help: 'The claim with the groups of the user, a text or a list of texts. Default: users have no groups.',
  },
  oidcGroupsPrefix: {
    name: 'oidc-groups-prefix',
    kind: 'string',
    placeholder: 'TEXT',
    help: 'The prefix of the names of groups. Default: none.',
  },
  oidcReservedNamePrefixes: {
    name: 'oidc-reserved-name-prefixes',
    kind: 'parsed',
    parse: (text: string): readonly string[] => (text === '-' ? [] : text.split(',')),
    placeholder: 'LIST',
    default: 'system:',
    help: 'Prefixes that no user and no group of the issuer may have, separated by commas. - disables the check.',
  },
  oidcSigningAlgs: {
    name: 'oidc-signing-algs',
    kind: 'parsed',
    parse: (text: string): readonly string[] => text.split(','),
    placeholder: 'LIST',
    default: 'RS256',
    help: 'The allowed algorithms of tokens, separated by commas. All of them are asymmetric.',
  },
  oidcRequiredClaim: {
    name: 'oidc-required-claim',
    kind: 'parsed',
    parse: parseClaim,
    placeholder: 'NAME=VALUE',
    repeatable: true,
    help: 'A claim that tokens must have, with its exact value.',
  },
  oidcCaFile: {
    name: 'oidc-ca-file',
    kind: 'string',
    placeholder: 'FILE',
    help: "The CAs (PEM) of the issuer's server. While the file is missing or not usable, no token of the issuer is accepted. It is read again when it changes. Default: the well-known CAs.",
  },
} as const satisfies OptionsTable;

function parseClaim(text: string): readonly [name: string, value: string] {
  const equals = text.indexOf('=');
  if (equals < 1) throw new ValueError('is no claim, such as hd=example.com');
  return [text.slice(0, equals), text.slice(equals + 1)];
}

/** The issuer that the options name; undefined: none. The problems are for the user. */
export function oidcOptionsOf(values: OptionsOf<typeof oidcTable>): {
  readonly options: OidcOptions | undefined;
  readonly problems: readonly string[];
} {
  const { oidcIssuerUrl: issuerUrl = '', oidcClientId: clientId = '' } = values;
  const options: OidcOptions = {
    issuerUrl,
    clientId,
    usernameClaim: values.oidcUsernameClaim,
    usernamePrefix: values.oidcUsernamePrefix,
    groupsClaim: values.oidcGroupsClaim,
    groupsPrefix: values.oidcGroupsPrefix,
    reservedNamePrefixes: values.oidcReservedNamePrefixes,
    signingAlgs: values.oidcSigningAlgs,
    requiredClaims: Object.fromEntries(values.oidcRequiredClaim),
  };
  const problems = oidcOptionProblems(options);
  return { options: problems.length > 0 || issuerUrl === '' ? undefined : options, problems };
}
