import { addonCommand } from './addon.ts';
import { agentCommand } from './agent.ts';
import { bridgeCommand } from './bridge.ts';
import { brokerCommand } from './broker.ts';
import type { Command } from './command.ts';
import { connectCommand } from './connect.ts';
import { credentialCommand } from './credential.ts';
import { devCommand } from './dev.ts';
import { gatewayCommand } from './gateway.ts';
import { kubeconfigCommand } from './kubeconfig.ts';
import { proxyAgentCommand } from './konnectivity/proxy-agent.ts';
import { proxyServerCommand } from './konnectivity/proxy-server.ts';
import {
  tokenAgentCommand,
  tokenDialerCommand,
  tokenGatewayCommand,
  tokenKeygenCommand,
} from './token.ts';

/** Every command, in the order in which help and docs/configuration.md show them. */
export const commands: readonly Command[] = [
  brokerCommand,
  agentCommand,
  bridgeCommand,
  gatewayCommand,
  connectCommand,
  kubeconfigCommand,
  credentialCommand,
  addonCommand,
  proxyServerCommand,
  proxyAgentCommand,
  tokenKeygenCommand,
  tokenAgentCommand,
  tokenDialerCommand,
  tokenGatewayCommand,
  devCommand,
];
