import { readOptions } from '../base/options/read-options.ts';
import type { OptionsTable } from '../base/options/option-table.ts';
import { formatHostPort } from '../base/net/host-port.ts';
import type { Command } from './command.ts';
import { localTable, loopbackAddress } from './dev-options.ts';
import type { LocalWorld } from './local-world.ts';
import { runUntilStopped } from './run-until-stopped.ts';

const devTable = {
  listen: {
    name: 'listen',
    ...loopbackAddress,
    default: '127.0.0.1:8080',
    help: 'The address at which agents connect without credentials, on loopback. Port 0 takes any free port.',
  },
  ...localTable,
} as const satisfies OptionsTable;

const connectTimeoutMs = 10_000;

export const devCommand: Command = {
  name: 'dev',
  summary: 'run broker, agent and bridge on this machine, to try them',
  about:
    'Runs a broker, a konnectivity listener, a gateway for HTTP clients, an agent and a small HTTP server as its target, in one process on loopback, and ' +
    'prints what to try next. It needs no cluster, no Redis and no keys. Ctrl-C ends it.',
  groups: [{ title: 'Options', table: devTable }],
  examples: [
    { title: 'everything on the default ports', line: 'culvert dev' },
    {
      title: 'a second instance on free ports',
      line: 'culvert dev --listen 127.0.0.1:0 --konnectivity-listen 127.0.0.1:0 --gateway-listen 127.0.0.1:0',
    },
  ],
  async run(argv, { env, stdout, signals }) {
    const { values } = readOptions(devTable, argv, env);
    const { createPinoLogger } = await import('../base/log/pino-logger.ts');
    const { startLocalWorld } = await import('./local-world.ts');
    const log = createPinoLogger({ level: values.logLevel });
    const start = {
      cluster: values.cluster,
      brokerFlags: [
        `--listen=${formatHostPort(values.listen)}`,
        `--konnectivity-listen=${formatHostPort(values.konnectivityListen)}`,
        `--gateway-listen=${formatHostPort(values.gatewayListen)}`,
      ],
      agentFlags: [],
      log,
    };
    return await runUntilStopped(
      async (parts) => {
        const inTime = AbortSignal.timeout(connectTimeoutMs);
        const world = parts.use(await startLocalWorld(start, inTime));
        stdout.write(announcement(world, values.cluster));
        return world;
      },
      { ...values, signals, log },
    );
  },
};

function announcement(
  { brokerUrl, frontAddresses, gatewayUrl, target }: LocalWorld,
  cluster: string,
): string {
  const service = `${target.host}:${target.port}`;
  return `
  broker            ${brokerUrl}
  konnectivity      ${frontAddresses.join(', ')} (gRPC, plain)
  gateway           ${gatewayUrl}/${cluster} (HTTP clients)
  agent             connected, speaks for cluster "${cluster}"
  sample service    http://${service}/ (only the agent needs to reach it)

Try next:
  curl ${brokerUrl.replace('ws', 'http')}/v1/status
  curl ${gatewayUrl}/${cluster}/
  kubectl --server=${gatewayUrl}/${cluster} get --raw /
  a konnectivity client at ${frontAddresses[0]} that dials ${cluster}:80 and sends GET /
  a second cluster, in another terminal:
    culvert agent --broker-url ${brokerUrl} --cluster second --kube-apiserver ${service}

Ctrl-C ends it.
`;
}
