import { brokerLinkTable } from '../base/options/broker-link-options.ts';
import { formatHostPort } from '../base/net/host-port.ts';
import type { Command } from './command.ts';
import {
  connectListenTable,
  connectProcessTable,
  connectTargetTable,
  readConnectOptions,
} from '../connect/connect-options.ts';
import { startProgramLog } from './program-log.ts';
import { runUntilStopped, oneAfterAnother } from './run-until-stopped.ts';

export const connectCommand: Command = {
  name: 'connect',
  summary: 'listen on a local port whose connections lead to a target in a cluster',
  about:
    'Listens on a local TCP port. Each connection goes through a broker and an agent of CLUSTER to TARGET, so that any ' +
    'program can reach one database or server there without a proxy. It runs until SIGTERM or Ctrl-C.',
  groups: [
    { title: 'The target', table: connectTargetTable },
    { title: 'Local programs', table: connectListenTable },
    { title: 'The broker', table: brokerLinkTable },
    { title: 'The process', table: connectProcessTable },
  ],
  examples: [
    {
      title: 'a local port for a PostgreSQL Service in the cluster prod-1',
      line: 'culvert connect --broker-url wss://broker.example.com --token-file token --listen 127.0.0.1:5432 prod-1 db.shop.svc:5432',
    },
    {
      title: 'a free local port for a server beside the cluster, which the first log line names',
      line: 'culvert connect --broker-url wss://broker.example.com --token-file token --listen 127.0.0.1:0 prod-1 10.0.0.7:22',
    },
  ],
  async run(argv, { env, signals }) {
    const { options, ...read } = readConnectOptions(argv, env);
    const log = await startProgramLog('connect', read);
    const { createRemoteDialer, watchBroker } = await import('../dialer/node/remote-dialer.ts');
    const { ConnectListener } = await import('../connect/connect-listener.ts');
    return await runUntilStopped(
      async (parts) => {
        const { cluster, target } = options;
        const link = { ...options.link, log };
        const reach = parts.use(watchBroker(link, cluster));
        const dialer = parts.use(createRemoteDialer(link, reach));
        const listener = parts.use(await ConnectListener.open(options, { dialer, log }));
        log.info('connect listens', {
          address: formatHostPort(listener.address),
          cluster,
          asked: formatHostPort(target),
        });
        return oneAfterAnother(listener, dialer);
      },
      { ...options, signals, log },
    );
  },
};
