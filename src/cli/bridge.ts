import { brokerLinkTable } from '../base/options/broker-link-options.ts';
import { processTable } from '../base/options/process-options.ts';
import { startStatusServer } from '../base/server/status-server.ts';
import { bridgeFrontTable } from '../konnectivity-bridge/options-table.ts';
import {
  bridgeAccessTable,
  bridgeStatusTable,
  readBridgeOptions,
} from '../konnectivity-bridge/read-options.ts';
import type { Command } from './command.ts';
import { startProgramLog } from './program-log.ts';
import { oneAfterAnother, runUntilStopped } from './run-until-stopped.ts';

export const bridgeCommand: Command = {
  name: 'bridge',
  summary: 'run a bridge: serve konnectivity clients through a broker in another place',
  about:
    'A bridge serves konnectivity clients, as `culvert broker --konnectivity-listen` does, but in a separate process. It runs ' +
    'near its clients and connects outbound to a broker, which can be in another network.',
  groups: [
    { title: 'Konnectivity clients', table: bridgeFrontTable },
    { title: 'Rules for clients', table: bridgeAccessTable },
    { title: 'The broker', table: brokerLinkTable },
    { title: 'Health and metrics', table: bridgeStatusTable },
    { title: 'The process', table: processTable },
  ],
  examples: [
    {
      title:
        'a Unix socket for the egress selector of a kube-apiserver whose nodes are in the cluster prod-1',
      line: 'culvert bridge --broker-url wss://broker.example.com --token-file token --konnectivity-uds /run/culvert/konnectivity.sock --cluster prod-1',
    },
    {
      title: 'gRPC without TLS on loopback, for a client on the same machine',
      line: 'culvert bridge --broker-url wss://broker.example.com --token-file token --konnectivity-listen 127.0.0.1:8090',
    },
  ],
  async run(argv, { env, signals }) {
    const { options, ...read } = readBridgeOptions(argv, env);
    const log = await startProgramLog('bridge', read);
    const { openRules } = await import('../access/node/open-rules.ts');
    const { systemClock } = await import('../base/clock.ts');
    const { exposeFiles } = await import('../base/metrics/file-metrics.ts');
    const { LastGoodCa } = await import('../base/tls/last-good-ca.ts');
    const { Metrics } = await import('../base/metrics/metrics.ts');
    const { createRemoteDialer, watchBroker } = await import('../dialer/node/remote-dialer.ts');
    const { bridgeMetrics, packetCounts } = await import('./bridge-metrics.ts');
    const { startBridge } = await import('../konnectivity-bridge/bridge.ts');
    return await runUntilStopped(
      async (parts) => {
        const metrics = new Metrics();
        const ofSessions = metrics.group('culvert_session');
        const ca = new LastGoodCa('--ca-file', log);
        const link = { ...options.link, log, metrics: ofSessions, ca };
        const reach = parts.use(watchBroker(link, options.front.cluster));
        const dialer = parts.use(createRemoteDialer(link, reach));
        const rules = parts.use(
          await openRules({ policyFile: options.policyFile, clock: systemClock, log }),
        );
        exposeFiles(metrics.group('culvert_bridge'), [ca, ...rules.files]);
        const bridge = parts.use(
          await startBridge(options.front, {
            dialer,
            log,
            rules: rules.authorizer,
            metrics: bridgeMetrics(metrics),
            packets: packetCounts(metrics),
            makeTokenDialer: (token) =>
              createRemoteDialer({ ...options.link, log, ca, readToken: async () => token }),
          }),
        );
        if (options.statusListen !== undefined) {
          const render = async () => {
            await ca.look();
            return await metrics.render();
          };
          const source = { unready: () => reach.unready, metrics: render };
          parts.use(await startStatusServer(options.statusListen, source, log));
        }
        // A client that does not know of the drain yet is still served.
        return oneAfterAnother(bridge, dialer);
      },
      { ...options, signals, log },
    );
  },
};
