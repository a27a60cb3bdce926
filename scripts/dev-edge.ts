// npm run dev:edge: the broker's Worker on this machine's workerd, with a Node agent and a Node bridge that go through it.
import { readAgentOptions } from '../src/agent/options.ts';
import { startAgent } from '../src/agent/agent.ts';
import { describeError } from '../src/base/error.ts';
import { readOptions } from '../src/base/options/read-options.ts';
import { formatHostPort } from '../src/base/net/host-port.ts';
import { createPinoLogger } from '../src/base/log/pino-logger.ts';
import { readBridgeOptions } from '../src/konnectivity-bridge/read-options.ts';
import { localTable } from '../src/cli/dev-options.ts';
import { runUntilStopped, together } from '../src/cli/run-until-stopped.ts';
import { startSampleTarget, type SampleTarget } from '../src/cli/sample-target.ts';
import { createRemoteDialer } from '../src/dialer/node/remote-dialer.ts';
import { startBridge } from '../src/konnectivity-bridge/bridge.ts';
import { startLocalWorker } from './local-worker.ts';

try {
  process.exitCode = await devEdge(process.argv.slice(2));
} catch (thrown) {
  console.error(describeError(thrown));
  process.exitCode = 1;
}

async function devEdge(argv: readonly string[]): Promise<number> {
  const { values } = readOptions(localTable, argv, {});
  const { cluster, konnectivityListen, logLevel } = values;
  const log = createPinoLogger({ level: logLevel });
  return await runUntilStopped(
    async (parts) => {
      const target = parts.use(await startSampleTarget());
      const worker = parts.use(
        await startLocalWorker({ CULVERT_OPEN: 'true', CULVERT_LOG_LEVEL: logLevel }),
      );
      const brokerFlags = ['--broker-url', worker.url];

      // The cluster's name leads to the sample server. In production, it is the kube-apiserver.
      const kubeApiserver = `${target.host}:${target.port}`;
      const agentFlags = ['--cluster', cluster, '--kube-apiserver', kubeApiserver, '--tunnels=1'];
      const { options: agentOptions } = readAgentOptions([...brokerFlags, ...agentFlags], {});
      const agent = parts.use(await startAgent(agentOptions, { log }));
      await agent.connected;

      const frontFlags = ['--konnectivity-listen', formatHostPort(konnectivityListen)];
      const { options } = readBridgeOptions([...brokerFlags, ...frontFlags], {});
      const dialer = parts.use(createRemoteDialer({ ...options.link, log }));
      const bridge = parts.use(await startBridge(options.front, { dialer, log }));

      console.log(announcement(worker.url, bridge.addresses[0]!, target, cluster));
      return together(bridge, dialer, agent);
    },
    { ...values, signals: process, log },
  );
}

function announcement(url: string, front: string, target: SampleTarget, cluster: string): string {
  const service = `${target.host}:${target.port}`;
  return `
  broker            ${url} (workerd: a Worker, and a Durable Object per cluster)
  konnectivity      ${front} (gRPC, plain), a Node process in front of the Worker
  agent             connected, speaks for cluster "${cluster}"
  sample service    http://${service}/ (only the agent needs to reach it)

Try next:
  curl ${url.replace('ws', 'http')}/v1/clusters/${cluster}/status
  a konnectivity client at ${front} that dials ${cluster}:80 and sends GET /
  wait ten seconds, so that the object goes to sleep, and send the next request
  a second cluster, in another terminal:
    npm run culvert -- agent --tunnels 1 --broker-url ${url} --cluster second --kube-apiserver ${service}

Ctrl-C ends it.
`;
}
