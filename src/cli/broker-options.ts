import type { Env } from '../base/options/option-table.ts';
import type { ProgramOptions } from '../base/options/process-options.ts';
import { readOptions } from '../base/options/read-options.ts';
import {
  allBrokerTable,
  type BrokerOptions,
  brokerOptions,
  checkBroker,
} from '../broker/node/options.ts';
import { checkGateway, gatewayOptions, gatewayTable } from '../gateway/node/options-table.ts';
import type { GatewayOptions } from '../gateway/node/start-gateway.ts';
import type { BridgeFrontOptions } from '../konnectivity-bridge/options.ts';
import {
  bridgeFrontOptions,
  bridgeFrontTable,
  checkBridgeFront,
} from '../konnectivity-bridge/options-table.ts';
import type { KonnectivityAgentsOptions } from '../konnectivity-agents/options.ts';
import {
  checkKonnectivityAgents,
  konnectivityAgentsOptions,
  konnectivityAgentsTable,
} from '../konnectivity-agents/options-table.ts';

const allTable = {
  ...allBrokerTable,
  ...bridgeFrontTable,
  ...konnectivityAgentsTable,
  ...gatewayTable,
} as const;

/** Options of a broker, and of the other programs in the same process that are enabled. */
export interface BrokerProgramOptions extends ProgramOptions<BrokerOptions> {
  readonly front: BridgeFrontOptions | undefined;
  readonly agents: KonnectivityAgentsOptions | undefined;
  readonly gateway: GatewayOptions | undefined;
}

/**
 * Reads the options of `culvert broker`. This is the only program that combines two programs that
 * do not import each other.
 *
 * @throws ConfigError with all problems together
 */
export function readBrokerOptions(argv: readonly string[], env: Env): BrokerProgramOptions {
  const { values, warnings } = readOptions(allTable, argv, env, (draft) => {
    checkBroker(draft);
    checkBridgeFront(draft);
    const { given } = draft;
    const hasApiServer = given('kubernetes') || given('kubeconfig');
    checkKonnectivityAgents(draft, {
      hasApiServer,
      hasTokens: hasApiServer || given('tokenPublicKey'),
      hasCluster: given('cluster'),
    });
    checkGateway(draft, { hasApiServer, drainTimeoutMs: draft.values.drainTimeoutMs });
  });
  const options = brokerOptions(values, env);
  const front = bridgeFrontOptions(values, options.tlsPolicy);
  const agents = konnectivityAgentsOptions(values, options.tlsPolicy);
  const gateway = gatewayOptions(values, options.tlsPolicy);
  return { options, front, agents, gateway, logLevel: values.logLevel, warnings };
}
