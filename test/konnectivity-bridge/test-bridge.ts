import { silentLogger } from '../../src/base/log/logger.ts';
import type { Dialer } from '../../src/dialer/dialer.ts';
import {
  type BridgeParts,
  type RunningBridge,
  startBridge,
} from '../../src/konnectivity-bridge/bridge.ts';
import type { BridgeMetrics } from '../../src/konnectivity-bridge/metrics.ts';
import type { BridgeFrontOptions } from '../../src/konnectivity-bridge/options.ts';
import { ProxyPeer } from './proxy-peer.ts';

/** Numbers of a bridge, by name (gauges) or by name and label (`dial_failure_count/no_agent`). */
export class TestMetrics implements BridgeMetrics {
  readonly #gauges = new Map<string, () => number>();
  readonly #counts = new Map<string, number>();

  gauge(name: string, _help: string, read: () => number): void {
    this.#gauges.set(name, read);
  }

  counter(name: string): (value: string) => void {
    return (value) => {
      const key = `${name}/${value}`;
      this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    };
  }

  histogram(name: string): (value: number) => void {
    const count = this.counter(name);
    return () => count('count');
  }

  read(name: string): number {
    return this.#gauges.get(name)?.() ?? this.#counts.get(name) ?? 0;
  }
}

export interface TestBridge extends AsyncDisposable {
  readonly bridge: RunningBridge;
  readonly metrics: TestMetrics;
  /** Its first address, and a client there. */
  readonly address: string;
  readonly peer: ProxyPeer;
}

/** A bridge on a loopback port, in the clear, with a grpc-js client. */
export async function startTestBridge(
  dialer: Dialer,
  options: BridgeFrontOptions = { listen: { host: '127.0.0.1', port: 0 } },
  parts: Partial<BridgeParts> = {},
): Promise<TestBridge> {
  const metrics = new TestMetrics();
  const bridge = await startBridge(options, { dialer, log: silentLogger, metrics, ...parts });
  const address = bridge.addresses[0]!;
  const peer = new ProxyPeer(address);
  return {
    bridge,
    metrics,
    address,
    peer,
    async [Symbol.asyncDispose]() {
      peer[Symbol.dispose]();
      await bridge.close();
    },
  };
}
