import type { AgentVariables } from '../compat/customized-variables.ts';
import { oidcIssuerOf, oidcReaders } from '../compat/oidc-variables.ts';
import type { FleetState } from '../hub/hub-state.ts';

/** How the users of one cluster are authenticated, from the fleet and the cluster's variables. */
export type ClusterHttp = Readonly<ReturnType<typeof clusterHttp>>;

/** A variable overrides `additionalServiceProxyArgs`, which overrides the option of the manager. */
export function clusterHttp(
  { enableImpersonation }: { readonly enableImpersonation: boolean },
  { serviceProxy }: Pick<FleetState['proxy'], 'serviceProxy'>,
  variables: AgentVariables,
) {
  const given = (Object.keys(oidcReaders) as (keyof typeof oidcReaders)[]).filter(
    (name) => (variables[name] ?? '') !== '',
  );
  const own = Object.fromEntries(
    (Object.keys(oidcReaders) as (keyof typeof oidcReaders)[])
      .filter((name) => name in variables)
      .map((name) => [name, variables[name]]),
  );
  const { issuer, problems } = oidcIssuerOf(own, serviceProxy.oidc);
  const isAlone = issuer === undefined && problems.length === 0 && given.length > 0;
  return {
    hubTokens:
      variables.enableImpersonation ?? serviceProxy.enableImpersonation ?? enableImpersonation,
    /** Undefined: no tokens of an OIDC issuer are accepted. */
    issuer,
    problems,
    notices: isAlone ? [`${given.join(', ')} have no effect without oidcIssuerURL`] : [],
  };
}
