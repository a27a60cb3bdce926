import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAgentOptions } from '../agent/options.ts';
import type { Logger } from '../base/log/logger.ts';
import { readBrokerOptions } from './broker-options.ts';
import { type Drainable, together } from './run-until-stopped.ts';
import { type SampleTarget, startSampleTarget } from './sample-target.ts';

export interface LocalWorldOptions {
  readonly cluster: string;
  /** Flags of `culvert broker`. They must enable a front and a gateway on loopback. */
  readonly brokerFlags: readonly string[];
  /** Flags of `culvert agent`, in addition to the addresses of the broker and the target. */
  readonly agentFlags: readonly string[];
  readonly log: Logger;
}

/**
 * A hub and a managed cluster in one process: a broker with a bridge and a gateway, an agent, and an
 * HTTP server that the agent reaches.
 */
export interface LocalWorld extends Drainable, AsyncDisposable {
  /** The URL at which agents connect: `ws://`. */
  readonly brokerUrl: string;
  /** The addresses at which konnectivity clients connect. */
  readonly frontAddresses: readonly string[];
  /** The URL of the gateway, without a path: `http://`. */
  readonly gatewayUrl: string;
  readonly target: SampleTarget;
}

/**
 * Starts all parts and resolves when the agent is connected. An abort of `signal` ends the wait for
 * the agent.
 */
export async function startLocalWorld(
  { cluster, brokerFlags, agentFlags, log }: LocalWorldOptions,
  signal: AbortSignal,
): Promise<LocalWorld> {
  await using stack = new AsyncDisposableStack();
  const { startBroker } = await import('../broker/node/broker.ts');
  const { startAgent } = await import('../agent/agent.ts');
  const { startBridge } = await import('../konnectivity-bridge/bridge.ts');
  const { startGatewayProgram } = await import('./gateway-program.ts');
  const { Metrics } = await import('../base/metrics/metrics.ts');

  const target = stack.use(await startSampleTarget());
  const {
    options,
    front,
    gateway: gatewayOptions,
    warnings,
  } = readBrokerOptions(
    // No load balancer has to learn of a drain.
    [...brokerFlags, '--gateway-min-drain=0s'],
    {},
  );
  for (const warning of warnings) log.debug(warning);
  const broker = stack.use(await startBroker(options, { log: log.child({ program: 'broker' }) }));
  const parts = { dialer: broker.dialer, log: log.child({ program: 'bridge' }) };
  const bridge = stack.use(await startBridge(front!, parts));
  const gateway = await startGatewayProgram(gatewayOptions!, {
    dialer: broker.gatewayDialer,
    hub: undefined,
    metrics: new Metrics(),
    log: log.child({ program: 'gateway' }),
    stack,
  });

  // The name of the cluster leads to the sample server. In a real cluster it leads to the
  // kube-apiserver.
  const targetFlags = [
    ...['--kube-apiserver', `${target.host}:${target.port}`],
    ...['--kube-ca-file', await temporaryFile(stack, target.ca)],
  ];
  const { options: agentOptions } = readAgentOptions(
    ['--broker-url', broker.url, '--cluster', cluster, ...targetFlags, ...agentFlags],
    {},
  );
  const agent = stack.use(await startAgent(agentOptions, { log: log.child({ program: 'agent' }) }));
  await connected(agent.connected, signal);

  const running = stack.move();
  return {
    brokerUrl: broker.url,
    frontAddresses: bridge.addresses,
    gatewayUrl: gateway.url,
    target,
    async drain(signal) {
      // The clients' streams run through the broker and the agent, so those drain last.
      await together(bridge, gateway).drain(signal);
      await Promise.all([agent.drain(signal), broker.drain(signal)]);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Writes a file that ends with `stack`. */
async function temporaryFile(stack: AsyncDisposableStack, text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-local-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const path = join(directory, 'ca.crt');
  await writeFile(path, text);
  return path;
}

async function connected(first: Promise<void>, signal: AbortSignal): Promise<void> {
  const gaveUp = Promise.withResolvers<never>();
  const onAbort = (): void => gaveUp.reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    signal.throwIfAborted();
    await Promise.race([first, gaveUp.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
