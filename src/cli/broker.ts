import { accessTable } from '../access/options-table.ts';
import { processTable } from '../base/options/process-options.ts';
import { tlsTable } from '../base/options/tls-options.ts';
import { brokerTable, replicaTable } from '../broker/node/options.ts';
import { bridgeFrontTable } from '../konnectivity-bridge/options-table.ts';
import { gatewayTable } from '../gateway/node/options-table.ts';
import { konnectivityAgentsTable } from '../konnectivity-agents/options-table.ts';
import { readBrokerOptions } from './broker-options.ts';
import type { Command } from './command.ts';
import { startProgramLog } from './program-log.ts';
import { runUntilStopped } from './run-until-stopped.ts';

export const brokerCommand: Command = {
  name: 'broker',
  summary: 'run a broker: accept tunnels of agents, and serve konnectivity clients',
  about:
    'A broker runs on the hub. Agents connect to --listen over WebSockets, each for the cluster in which it runs. With ' +
    '--konnectivity-listen or --konnectivity-uds, the process also serves konnectivity clients, which reach a cluster by its name. ' +
    'With --konnectivity-agent-listen it also takes standard konnectivity agents. With --gateway-listen it serves kubectl and other ' +
    'HTTP clients, one URL per cluster.',
  groups: [
    { title: 'Agents and dialers', table: brokerTable },
    { title: 'Rules for clients', table: accessTable },
    { title: 'Several replicas', table: replicaTable },
    { title: 'Konnectivity clients', table: bridgeFrontTable },
    { title: 'Standard konnectivity agents', table: konnectivityAgentsTable },
    { title: 'HTTP clients', table: gatewayTable },
    { title: 'TLS', table: tlsTable },
    { title: 'The process', table: processTable },
  ],
  examples: [
    {
      title: 'a broker behind an ingress that terminates TLS, with tokens from `culvert token`',
      line: 'culvert broker --listen 0.0.0.0:8080 --token-public-key culvert-token.key.pub',
    },
    {
      title: 'a broker that also serves kubectl, with tokens of the hub cluster',
      line: 'culvert broker --listen 0.0.0.0:8080 --kubernetes --gateway-listen 0.0.0.0:9092 --gateway-tls-cert tls.crt --gateway-tls-key tls.key',
    },
    {
      title: 'a broker that also serves konnectivity clients with a certificate of ca.crt',
      line: 'culvert broker --listen 0.0.0.0:8080 --token-public-key culvert-token.key.pub --konnectivity-listen 0.0.0.0:8090 --konnectivity-tls-cert tls.crt --konnectivity-tls-key tls.key --konnectivity-client-ca ca.crt',
    },
  ],
  async run(argv, { env, signals }) {
    const { options, front, agents, gateway, ...read } = readBrokerOptions(argv, env);
    const log = await startProgramLog('broker', read);
    const { Metrics } = await import('../base/metrics/metrics.ts');
    const { startBrokerProgram } = await import('./broker-program.ts');
    return await runUntilStopped(
      async (stack) => {
        const parts = { metrics: new Metrics(), log, stack };
        const program = await startBrokerProgram({ options, front, agents, gateway }, parts);
        log.info('broker listens', { url: program.broker.url });
        return program;
      },
      { ...options, signals, log },
    );
  },
};
