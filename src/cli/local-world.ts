import { readAgentOptions } from '../agent/options.ts';
import type { Logger } from '../base/log/logger.ts';
import { readBrokerOptions } from './broker-options.ts';
import type { Drainable } from './run-until-stopped.ts';
import { type SampleTarget, startSampleTarget } from './sample-target.ts';

export interface LocalWorldOptions {
  readonly cluster: string;
  /** Flags of `culvert broker`. They must enable a front on loopback. */
  readonly brokerFlags: readonly string[];
  /** Flags of `culvert agent`, in addition to the addresses of the broker and the target. */
  readonly agentFlags: readonly string[];
  readonly log: Logger;
}

/**
 * A hub and a managed cluster in one process: a broker with a bridge, an agent, and an HTTP server
 * that the agent reaches.
 */
export interface LocalWorld extends Drainable, AsyncDisposable {
  /** The URL at which agents connect: `ws://`. */
  readonly brokerUrl: string;
  /** The addresses at which konnectivity clients connect. */
  readonly frontAddresses: readonly string[];
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

  const target = stack.use(await startSampleTarget());
  const { options, front, warnings } = readBrokerOptions(brokerFlags, {});
  for (const warning of warnings) log.debug(warning);
  const broker = stack.use(await startBroker(options, { log: log.child({ program: 'broker' }) }));
  const parts = { dialer: broker.dialer, log: log.child({ program: 'bridge' }) };
  const bridge = stack.use(await startBridge(front!, parts));

  // The name of the cluster leads to the sample server. In a real cluster it leads to the
  // kube-apiserver.
  const targetFlag = ['--kube-apiserver', `${target.host}:${target.port}`];
  const { options: agentOptions } = readAgentOptions(
    ['--broker-url', broker.url, '--cluster', cluster, ...targetFlag, ...agentFlags],
    {},
  );
  const agent = stack.use(await startAgent(agentOptions, { log: log.child({ program: 'agent' }) }));
  await connected(agent.connected, signal);

  const running = stack.move();
  return {
    brokerUrl: broker.url,
    frontAddresses: bridge.addresses,
    target,
    async drain(signal) {
      // The bridge drains first, because its clients' streams run through the broker and the agent.
      await bridge.drain(signal);
      await Promise.all([agent.drain(signal), broker.drain(signal)]);
    },
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
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
