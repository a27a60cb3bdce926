import { describe, expect, it } from 'vitest';
import { clusterHttp } from '../../../src/addon/cluster/cluster-http.ts';
import { Diagnostics } from '../../../src/addon/api/diagnostics.ts';
import { readVariables } from '../../../src/addon/compat/customized-variables.ts';
import { serviceProxyDefaults } from '../../../src/addon/compat/service-proxy-args.ts';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { configuredInput, deployment, problemsOf, variables } from '../cluster/agent-inputs.ts';

type Given = Readonly<Record<string, string>>;
const needed = { oidcIssuerURL: 'https://i', oidcClientID: 'kubectl' };

/** A configuration with arguments, and the problems with them alone. */
function configurationOf(...additionalServiceProxyArgs: string[]) {
  const spec = { proxyAgent: { additionalServiceProxyArgs } };
  const parsed = parseManagedProxyConfiguration({ spec });
  const isOfArguments = ({ field }: { readonly field: string }) =>
    field.startsWith('spec.proxyAgent.additionalServiceProxyArgs');
  return { ...parsed, problems: parsed.problems.filter(isOfArguments) };
}

function httpOf(given: Given, serviceProxy = serviceProxyDefaults([])) {
  const diagnostics = new Diagnostics();
  const list = Object.entries(given).map(([name, value]) => ({ name, value }));
  const read = readVariables(list, 'config', diagnostics);
  expect(diagnostics).toMatchObject({ problems: [], notices: [] });
  return clusterHttp({ enableImpersonation: true }, { serviceProxy }, read);
}

describe('The OIDC variables of a cluster', () => {
  it('All variables become options of the issuer', () => {
    const given = {
      ...needed,
      oidcUsernameClaim: 'email',
      oidcUsernamePrefix: 'oidc:',
      oidcGroupsClaim: 'groups',
      oidcGroupsPrefix: 'team:',
      oidcReservedNamePrefixes: 'system:, admin:',
      oidcCAConfigMap: 'issuer-ca',
      oidcSigningAlgs: 'RS256,ES256',
      oidcRequiredClaimsJSON: '{"hd":"example.com"}',
    };
    expect(httpOf(given).issuer).toEqual({
      options: {
        issuerUrl: 'https://i',
        clientId: 'kubectl',
        usernameClaim: 'email',
        usernamePrefix: 'oidc:',
        groupsClaim: 'groups',
        groupsPrefix: 'team:',
        reservedNamePrefixes: ['system:', 'admin:'],
        signingAlgs: ['RS256', 'ES256'],
        requiredClaims: { hd: 'example.com' },
      },
      caConfigMap: 'issuer-ca',
    });
  });

  it('Reserved prefixes have the default of upstream, and an empty list disables them', () => {
    expect(httpOf(needed).issuer?.options.reservedNamePrefixes).toBeUndefined();
    const disabled = httpOf({ ...needed, oidcReservedNamePrefixes: '' });
    expect(disabled.issuer?.options.reservedNamePrefixes).toEqual([]);
  });

  it.each<[Given, string]>([
    [{ oidcIssuerURL: 'https://i' }, 'oidcIssuerURL and oidcClientID must be specified together'],
    [{ oidcClientID: 'c' }, 'oidcIssuerURL and oidcClientID must be specified together'],
    [{ ...needed, oidcIssuerURL: 'http://i' }, 'oidcIssuerURL="http://i" must begin with https://'],
    [{ ...needed, oidcReservedNamePrefixes: 'a:,' }, 'oidcReservedNamePrefixes must not contain'],
    [{ ...needed, oidcRequiredClaimsJSON: '{' }, 'oidcRequiredClaimsJSON="{" is no JSON'],
    [{ ...needed, oidcRequiredClaimsJSON: '[]' }, 'is no JSON object'],
    [{ ...needed, oidcRequiredClaimsJSON: '{"a":1}' }, 'has a claim a that is no text'],
    [{ ...needed, oidcRequiredClaimsJSON: '{"":"x"}' }, 'oidcRequiredClaimsJSON must not have an'],
    [{ ...needed, oidcSigningAlgs: 'HS256' }, 'unsupported OIDC signing algorithm "HS256"'],
    [{ ...needed, oidcCAConfigMap: 'A B' }, 'is not a name for a ConfigMap'],
  ])('The variables %j are a problem of the addon', (given, problem) => {
    expect(problemsOf(configuredInput(variables(given)))).toContain(problem);
  });

  it('Variables without an issuer are reported', () => {
    expect(httpOf({ oidcGroupsClaim: 'g' }).notices).toEqual([
      'oidcGroupsClaim have no effect without oidcIssuerURL',
    ]);
  });

  it('An issuer lets the agent impersonate, although hub tokens are switched off', () => {
    const off = { enableImpersonation: 'false' };
    const argsOf = (given: Given) =>
      deployment(configuredInput(variables(given), { enableServiceProxy: true })).container.args;
    expect(argsOf(off)).toContain('--enable-impersonation=false');
    expect(argsOf({ ...off, ...needed })).not.toContain('--enable-impersonation=false');
    expect(httpOf({ ...off, ...needed }).hubTokens).toBe(false);
  });
});

describe('additionalServiceProxyArgs', () => {
  it('Flags of the service-proxy are defaults for all clusters', () => {
    const { serviceProxy, problems } = configurationOf(
      '--enable-impersonation=F',
      '--oidc-issuer-url=https://fleet',
      ...['--oidc-client-id', 'c', '--oidc-reserved-name-prefixes='],
      '--oidc-required-claim=a=b=c',
      '--oidc-required-claim=d=',
      '--oidc-ca-configmap=ca',
    );
    expect(problems).toEqual([]);
    const fleet = httpOf({}, serviceProxy);
    expect(fleet).toMatchObject({
      hubTokens: false,
      issuer: {
        caConfigMap: 'ca',
        options: {
          ...{ issuerUrl: 'https://fleet', clientId: 'c', reservedNamePrefixes: [] },
          requiredClaims: { a: 'b=c', d: '' },
        },
      },
    });
    expect(httpOf({ enableImpersonation: 'T' }, serviceProxy).hubTokens).toBe(true);
    const grouped = httpOf({ oidcGroupsClaim: 'g' }, serviceProxy).issuer?.options;
    expect(grouped).toMatchObject({ issuerUrl: 'https://fleet', groupsClaim: 'g' });
    const own = httpOf(needed, serviceProxy).issuer;
    expect(own).toEqual({ options: { issuerUrl: 'https://i', clientId: 'kubectl' } });
    expect(httpOf({ oidcIssuerURL: '' }, serviceProxy).issuer).toBeUndefined();
  });

  it.each([
    ['--enable-impersonation=yes', '--enable-impersonation=yes is neither true nor false'],
    ['--oidc-required-claim=x', '--oidc-required-claim=x is no claim'],
    ['--oidc-issuer-url=https://i', 'oidcIssuerURL and oidcClientID must be specified together'],
    ['--hub-kubeconfig=/x', '--hub-kubeconfig is not possible'],
    ['--oidc-isuer-url=x', '--oidc-isuer-url is unknown, did you mean --oidc-issuer-url?'],
    ['--drain-timeout=never', '--drain-timeout=never is not valid'],
  ])('The argument %s is refused with the reason', (argument, problem) => {
    const { problems } = configurationOf(argument);
    expect(problems.map(({ sentence }) => sentence).join()).toContain(problem);
  });

  it.each(['--v=4', '--drain-timeout=30s', '--max-idle-conns=7', '--token-review-cache-ttl=0'])(
    'The argument %s is reported as ignored, with the reason',
    (argument) => {
      const { problems, ignored } = configurationOf(argument);
      expect(problems).toEqual([]);
      expect(ignored).toHaveLength(1);
    },
  );
});
