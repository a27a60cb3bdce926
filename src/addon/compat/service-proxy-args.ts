import { goDurationCheck, ignored, klogFlags, refused } from './additional-args-table.ts';
import type { FlagRule, FlagRules, ProgramFlag } from './additional-args.ts';
import { readGoBoolean } from './customized-variables.ts';
import { oidcReaders, type OidcVariables } from './oidc-variables.ts';
import { describeError } from '../../base/error.ts';
import type { TextCheck } from '../api/field-problem.ts';

/** What `spec.proxyAgent.additionalServiceProxyArgs` sets for all clusters. */
export interface ServiceProxyDefaults {
  /** Undefined: the option of the addon manager decides. */
  readonly enableImpersonation: boolean | undefined;
  readonly oidc: OidcVariables;
}

const requiredClaim = 'oidc-required-claim';
const impersonation = 'enable-impersonation';

/** The variable that does the same as a flag, for one cluster. */
const oidcFlags = {
  'oidc-issuer-url': 'oidcIssuerURL',
  'oidc-client-id': 'oidcClientID',
  'oidc-username-claim': 'oidcUsernameClaim',
  'oidc-username-prefix': 'oidcUsernamePrefix',
  'oidc-groups-claim': 'oidcGroupsClaim',
  'oidc-groups-prefix': 'oidcGroupsPrefix',
  'oidc-reserved-name-prefixes': 'oidcReservedNamePrefixes',
  'oidc-ca-configmap': 'oidcCAConfigMap',
  'oidc-signing-algs': 'oidcSigningAlgs',
} as const satisfies Readonly<Record<string, keyof OidcVariables>>;

const whole: TextCheck = (text) => (/^\d+$/.test(text) ? undefined : 'is no whole number');
const kept = (check: TextCheck, names: readonly string[]): FlagRules =>
  Object.fromEntries(
    names.map((name): [string, FlagRule] => [
      name,
      { kind: 'mapped', check, to: (value) => ({ name, value }) },
    ]),
  );

/**
 * Rules for every flag of Cluster Proxy's service-proxy. The brokers and the agents do its work, so
 * a flag is a default for all clusters. A flag without a rule is refused.
 */
export const serviceProxyFlags: FlagRules = {
  ...ignored(Object.keys(klogFlags).join(' '), 'there is no service-proxy that writes a log'),
  ...kept(checkOf(readGoBoolean), [impersonation]),
  ...Object.entries(oidcFlags).reduce<FlagRules>(
    (rules, [name, variable]) => ({ ...rules, ...kept(checkOf(oidcReaders[variable]), [name]) }),
    {},
  ),
  ...kept(
    (text) => (text.indexOf('=') > 0 ? undefined : 'is no claim, such as hd=example.com'),
    [requiredClaim],
  ),
  ...ignored(
    'drain-timeout min-drain-duration',
    'requests end with the agent, whose --drain-timeout is in spec.proxyAgent.additionalArgs',
    goDurationCheck,
  ),
  ...ignored(
    'idle-conn-timeout tls-handshake-timeout expect-continue-timeout',
    "the timeouts of the agent's connections are fixed",
    goDurationCheck,
  ),
  ...ignored('max-idle-conns', "the limits of the agent's connections are fixed", whole),
  ...ignored(
    'token-review-cache-ttl',
    'the brokers keep the result of a review for a fixed time',
    goDurationCheck,
  ),
  ...ignored('kube-api-qps kube-api-burst', 'the brokers share the results of reviews'),
  ...refused('cert key', 'no port of the agent accepts connections'),
  ...refused('hub-kubeconfig', 'the brokers have tokens reviewed by the hub'),
  ...refused(
    'additional-service-ca',
    'spec.proxyAgent.additionalServiceCAConfigMap names a ConfigMap with CAs of Services',
  ),
};

/** The defaults that flags of `serviceProxyFlags` set. The last of several equal flags counts. */
export function serviceProxyDefaults(flags: readonly ProgramFlag[]): ServiceProxyDefaults {
  let enableImpersonation: boolean | undefined;
  const oidc: Record<string, unknown> = {};
  const claims: Record<string, string> = {};
  for (const { name, value } of flags) {
    if (name === impersonation) enableImpersonation = readGoBoolean(value);
    else if (name === requiredClaim) {
      const equals = value.indexOf('=');
      claims[value.slice(0, equals)] = value.slice(equals + 1);
    } else {
      const variable = oidcFlags[name as keyof typeof oidcFlags];
      oidc[variable] = oidcReaders[variable](value);
    }
  }
  const hasClaims = Object.keys(claims).length > 0;
  return {
    enableImpersonation,
    oidc: { ...oidc, ...(hasClaims && { oidcRequiredClaimsJSON: claims }) },
  };
}

/** The check of a reader that throws a sentence. */
function checkOf(read: (text: string) => unknown): TextCheck {
  return (text) => {
    try {
      read(text);
      return undefined;
    } catch (thrown) {
      return describeError(thrown);
    }
  };
}
