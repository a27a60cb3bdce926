import { accessTable } from '../access/options-table.ts';
import { systemClock } from '../base/clock.ts';
import { brokerLinkTable } from '../base/options/broker-link-options.ts';
import { processTable } from '../base/options/process-options.ts';
import { tlsTable } from '../base/options/tls-options.ts';
import { startStatusServer } from '../base/server/status-server.ts';
import type { Command } from './command.ts';
import {
  gatewayFrontTable,
  gatewayHubTable,
  gatewayStatusTable,
  readGatewayOptions,
} from './gateway-options.ts';
import { startProgramLog } from './program-log.ts';
import { oneAfterAnother, runUntilStopped } from './run-until-stopped.ts';

export const gatewayCommand: Command = {
  name: 'gateway',
  summary: 'run a gateway: serve kubectl and other HTTP clients, one URL per cluster',
  about:
    'A gateway serves HTTP clients, as `culvert broker --gateway-listen` does, but in a separate process. kubectl and other ' +
    'clients reach the API server of a cluster at https://GATEWAY/CLUSTER/. Its token needs the permission to act as a gateway.',
  groups: [
    { title: 'HTTP clients', table: gatewayFrontTable },
    { title: 'The hub cluster', table: gatewayHubTable },
    { title: 'Rules for clients', table: accessTable },
    { title: 'The broker', table: brokerLinkTable },
    { title: 'Health and metrics', table: gatewayStatusTable },
    { title: 'TLS', table: tlsTable },
    { title: 'The process', table: processTable },
  ],
  examples: [
    {
      title: 'a gateway for tokens of the hub cluster, in a pod of the hub',
      line: 'culvert gateway --broker-url wss://broker.example.com --token-file token --kubernetes --gateway-listen 0.0.0.0:9092 --gateway-tls-cert tls.crt --gateway-tls-key tls.key',
    },
    {
      title: 'HTTP without TLS on loopback, for a client on the same machine',
      line: 'culvert gateway --broker-url wss://broker.example.com --token-file token --gateway-listen 127.0.0.1:9092',
    },
  ],
  async run(argv, { env, signals }) {
    const { options, ...read } = readGatewayOptions(argv, env);
    const log = await startProgramLog('gateway', read);
    const { exposeFiles } = await import('../base/metrics/file-metrics.ts');
    const { LastGoodCa } = await import('../base/tls/last-good-ca.ts');
    const { Metrics } = await import('../base/metrics/metrics.ts');
    const { createRemoteDialer, watchBroker } = await import('../dialer/node/remote-dialer.ts');
    const { openGatewayHub } = await import('./gateway-hub.ts');
    const { openGatewayRules } = await import('./gateway-rules.ts');
    const { startGatewayProgram } = await import('./gateway-program.ts');
    return await runUntilStopped(
      async (stack) => {
        const metrics = new Metrics();
        const ca = new LastGoodCa('--ca-file', log);
        const link = { ...options.link, log, metrics: metrics.group('culvert_session'), ca };
        const reach = stack.use(watchBroker(link));
        const dialer = stack.use(createRemoteDialer(link, reach));
        const clock = systemClock;
        const { proxies } = options.link;
        const hub = options.hub && stack.use(openGatewayHub(options.hub, { proxies, clock, log }));
        const rules = stack.use(await openGatewayRules(options, { api: hub?.api, clock, log }));
        exposeFiles(metrics.group('culvert_gateway'), [ca, ...rules.files]);
        const gateway = await startGatewayProgram(options.gateway, {
          ...{ dialer, hub, rules: rules.authorizer, metrics, log, stack },
          isKnownCluster: rules.isKnownCluster,
        });
        if (options.statusListen !== undefined) {
          const render = async () => {
            await ca.look();
            return await metrics.render();
          };
          const unready = () => (gateway.isDraining ? 'the gateway is draining' : reach.unready);
          const source = { unready, metrics: render };
          stack.use(await startStatusServer(options.statusListen, source, log));
        }
        return oneAfterAnother(gateway, dialer);
      },
      { ...options, signals, log },
    );
  },
};
