import { accessTable } from '../access/options-table.ts';
import {
  type BrokerLinkOptions,
  brokerAccess,
  brokerLinkTable,
  checkBrokerLink,
} from '../base/options/broker-link-options.ts';
import type { Env, OptionsOf, OptionsTable } from '../base/options/option-table.ts';
import { brokerPassthroughTable } from '../base/options/passthrough-options.ts';
import { type ProgramOptions, processTable } from '../base/options/process-options.ts';
import { readOptions } from '../base/options/read-options.ts';
import { tlsPolicyOf, tlsTable } from '../base/options/tls-options.ts';
import { brokerTable } from '../broker/node/options.ts';
import { checkGateway, gatewayOptions, gatewayTable } from '../gateway/node/options-table.ts';
import type { GatewayOptions } from '../gateway/node/start-gateway.ts';
import type { GatewayHubAccess } from './gateway-hub.ts';

/** The rows of `culvert gateway` alone: the same as in `culvert broker`, where that has them. */
export const gatewayFrontTable = {
  ...gatewayTable,
  gatewayListen: { ...gatewayTable.gatewayListen, required: true },
  trustedProxies: {
    ...brokerPassthroughTable.trustedProxies,
    help: 'Addresses and networks of load balancers and ingresses in front of --gateway-listen, separated by commas (10.0.0.0/8,fd00::/8). Their X-Forwarded-* headers are trusted.',
  },
} as const satisfies OptionsTable;

export const gatewayHubTable = {
  kubernetes: {
    ...brokerTable.kubernetes,
    help: 'Uses the API server of the cluster in which the gateway runs as the hub: its tokens are accepted, its ManagedClusters are the known clusters with their labels for --policy-file, and --exposed-services-configmap is read there.',
  },
  kubeconfig: brokerTable.kubeconfig,
} as const satisfies OptionsTable;

export const gatewayStatusTable = {
  statusListen: {
    name: 'status-listen',
    kind: 'hostPort',
    help: 'The address of /healthz, /readyz (the broker can be reached, and the gateway does not drain) and /metrics, over plain HTTP and without credentials. Default: none.',
  },
} as const satisfies OptionsTable;

const allTable = {
  ...gatewayFrontTable,
  ...gatewayHubTable,
  ...accessTable,
  ...brokerLinkTable,
  ...gatewayStatusTable,
  ...tlsTable,
  ...processTable,
} as const;

/** A gateway in a process of its own, and how it reaches the broker. */
export interface GatewayProcessOptions extends Pick<
  OptionsOf<typeof allTable>,
  'statusListen' | 'drainTimeoutMs' | 'policyFile' | 'hubAuthorization'
> {
  readonly gateway: GatewayOptions;
  readonly hub: GatewayHubAccess | undefined;
  readonly link: BrokerLinkOptions;
}

/**
 * Reads the options of `culvert gateway`.
 *
 * @throws ConfigError with all problems together
 */
export function readGatewayOptions(
  argv: readonly string[],
  env: Env,
): ProgramOptions<GatewayProcessOptions> {
  const { values, warnings } = readOptions(allTable, argv, env, (draft) => {
    const { given, label, problem } = draft;
    checkBrokerLink(draft);
    const hasApiServer = given('kubernetes') || given('kubeconfig');
    checkGateway(draft, { hasApiServer, drainTimeoutMs: draft.values.drainTimeoutMs });
    if (given('kubernetes') && given('kubeconfig')) {
      problem(`${label('kubernetes')} and ${label('kubeconfig')} are both given, keep one`);
    }
    if (draft.values.hubAuthorization === true && !hasApiServer) {
      problem(`${label('hubAuthorization')} needs --kubernetes or --kubeconfig`);
    }
  });
  const gateway = gatewayOptions(values, tlsPolicyOf(values))!;
  const link = { brokerUrl: values.brokerUrl, ...brokerAccess(values, env) };
  const { statusListen, drainTimeoutMs, policyFile, hubAuthorization, logLevel } = values;
  const hub = hubAccess(values);
  const options = Object.freeze({
    ...{ gateway, hub, link, statusListen, drainTimeoutMs, policyFile, hubAuthorization },
  });
  return { options, logLevel, warnings };
}

function hubAccess({
  kubernetes,
  kubeconfig,
}: Pick<OptionsOf<typeof allTable>, 'kubernetes' | 'kubeconfig'>): GatewayHubAccess | undefined {
  if (kubeconfig !== undefined) return { from: 'kubeconfig', path: kubeconfig };
  return kubernetes ? { from: 'pod' } : undefined;
}
