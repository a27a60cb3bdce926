import {
  agentHealthTable,
  agentHttpTable,
  agentLinkTable,
  agentTable,
  readAgentOptions,
} from '../agent/options.ts';
import { processTable } from '../base/options/process-options.ts';
import type { Command } from './command.ts';
import { startProgramLog } from './program-log.ts';
import { runUntilStopped } from './run-until-stopped.ts';

const { cluster, installNamespace, agentId, allow, kubeApiserver } = agentTable;
const { enableKubeApiProxy, dialTimeoutMs, tunnels } = agentTable;

export const agentCommand: Command = {
  name: 'agent',
  summary: 'run an agent: connect the cluster in which it runs to a broker',
  about:
    'An agent runs in a managed cluster and makes outbound WebSocket connections to a broker. Through them, clients reach ' +
    'the kube-apiserver of the cluster and the destinations of --allow, and nothing else. The hub cannot extend that list. ' +
    'HTTP_PROXY, HTTPS_PROXY and NO_PROXY apply to the connections to the broker. Run several agents for availability.',
  groups: [
    {
      title: 'The cluster',
      table: {
        cluster,
        installNamespace,
        allow,
        kubeApiserver,
        enableKubeApiProxy,
        dialTimeoutMs,
        agentId,
      },
    },
    { title: 'HTTP requests', table: agentHttpTable },
    { title: 'The broker', table: { ...agentLinkTable, tunnels } },
    { title: 'Health and metrics', table: agentHealthTable },
    { title: 'The process', table: processTable },
  ],
  examples: [
    {
      title: 'an agent for the kube-apiserver of the cluster in which it runs',
      line: 'culvert agent --broker-url wss://broker.example.com --cluster prod-1 --token-file /var/run/culvert/token',
    },
    {
      title: 'an agent that also serves one host, in a network with a proxy',
      line: 'HTTPS_PROXY=http://proxy:3128 culvert agent --broker-url wss://broker.example.com --cluster prod-1 --token-file token --allow db.internal:5432',
    },
  ],
  async run(argv, { env, signals }) {
    const read = readAgentOptions(argv, env);
    const log = await startProgramLog('agent', read);
    const { startAgent } = await import('../agent/agent.ts');
    return await runUntilStopped(
      async (parts) => parts.use(await startAgent(read.options, { log })),
      { ...read.options, signals, log },
    );
  },
};
