import {
  agentHealthTable,
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
  summary: 'connect a cluster to a broker, from inside the cluster',
  about:
    'Runs in a cluster and makes one outbound WebSocket connection to a broker. Streams that arrive through it are ' +
    'connected to the kube-apiserver and to the destinations named by --allow, and to nothing else: the hub cannot widen ' +
    'that list. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are honoured on the way to the broker. Run several for availability.',
  groups: [
    {
      title: 'What it serves',
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
    { title: 'The broker', table: { ...agentLinkTable, tunnels } },
    { title: 'Health', table: agentHealthTable },
    { title: 'The process', table: processTable },
  ],
  examples: [
    {
      says: 'serve the kube-apiserver of the cluster it runs in',
      line: 'culvert agent --broker-url wss://broker.example.com --cluster prod-1 --token-file /var/run/culvert/token',
    },
    {
      says: 'serve one host besides, through the proxy that the network demands',
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
