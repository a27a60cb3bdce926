import { readBrokerOptions } from '../broker-options.ts';
import type { Command } from '../command.ts';
import { startProgramLog } from '../program-log.ts';
import { runUntilStopped } from '../run-until-stopped.ts';
import { withoutOptions } from './upstream-flags.ts';
import {
  agentPortTable,
  brokerArgvOf,
  clientTable,
  hostPort,
  readProxyServerOptions,
  serverHealthTable,
  serverIgnored,
} from './proxy-server-options.ts';

/** The answer of upstream's /readyz while no agent is connected. */
const noAgent = 'no connection to any proxy agent';

export const proxyServerCommand: Command = {
  name: 'proxy-server',
  summary: "run a broker with the flags of konnectivity's proxy-server",
  about:
    "Takes the place of konnectivity's proxy-server 0.36 with the same flags, ports, metrics and probes, for one cluster. " +
    'Its agents are konnectivity agents and culvert agents, at the same port. Its clients use gRPC or HTTP CONNECT.',
  groups: [
    { title: 'Clients', table: clientTable },
    { title: 'Agents', table: agentPortTable },
    { title: 'The process', table: serverHealthTable },
    { title: 'Flags without effect', table: serverIgnored.table },
  ],
  examples: [
    {
      title: 'a server for clients with a certificate of client-ca.crt',
      line: 'culvert proxy-server --server-port=8090 --server-cert=tls.crt --server-key=tls.key --server-ca-cert=client-ca.crt --cluster-cert=tls.crt --cluster-key=tls.key --cluster-ca-cert=ca.crt',
    },
    {
      title: 'a server for the egress selector of a kube-apiserver',
      line: 'culvert proxy-server --uds-name=/etc/kubernetes/konnectivity-server/konnectivity-server.socket --server-port=0 --cluster-cert=tls.crt --cluster-key=tls.key --cluster-ca-cert=ca.crt',
    },
  ],
  async run(argv, { env, signals }) {
    const { values, warnings } = readProxyServerOptions(argv, env);
    const program = readBrokerOptions(brokerArgvOf(values), withoutOptions(env));
    const { logLevel, options } = program;
    const log = await startProgramLog('proxy-server', { logLevel, warnings });
    const { Metrics } = await import('../../base/metrics/metrics.ts');
    const { parseHostPort } = await import('../../base/net/host-port.ts');
    const { startStatusServer } = await import('../../base/server/status-server.ts');
    const { startBrokerProgram } = await import('../broker-program.ts');
    return await runUntilStopped(
      async (stack) => {
        const metrics = new Metrics();
        const parts = { metrics, log, stack, isOnePortForAgents: true };
        const running = await startBrokerProgram(program, parts);
        const group = metrics.group('konnectivity_network_proxy_server');
        const agents = () => running.agentCount;
        group.gauge(
          'ready_backend_connections',
          'Number of konnectivity agent connected to the proxy server. DEPRECATED, please use ready_backends',
          agents,
        );
        group.gauges(
          'ready_backends',
          'Number of konnectivity agent connected to the proxy server',
          'proxy_strategy',
          () => [['default', agents()]],
        );
        const source = {
          unready: () => (running.broker.unready === undefined ? undefined : noAgent),
          unreadyStatus: 500,
          metrics: () => metrics.render(),
        };
        const { healthBindAddress, healthPort, adminBindAddress, adminPort } = values;
        for (const address of [
          hostPort(healthBindAddress, healthPort),
          hostPort(adminBindAddress, adminPort),
        ]) {
          stack.use(await startStatusServer(parseHostPort(address), source, log));
        }
        return running;
      },
      { ...options, signals, log },
    );
  },
};
