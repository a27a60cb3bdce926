import { silentLogger } from '../../src/base/log/logger.ts';
import { defaultTlsPolicy } from '../../src/base/tls/tls-policy.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { Relay } from '../../src/broker/relay.ts';
import { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import {
  type KonnectivityAgentsParts,
  type RunningKonnectivityAgents,
  startKonnectivityAgents,
} from '../../src/konnectivity-agents/konnectivity-agents.ts';
import type { KonnectivityAgentsOptions } from '../../src/konnectivity-agents/options.ts';
import { PacketCounts } from '../../src/konnectivity/packet-counts.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import type { StreamHandler, TunnelStream } from '../../src/tunnel/stream-handler.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import type { CertificateFiles } from '../../testkit/world/certificates.ts';
import { TestMetrics } from '../konnectivity-bridge/test-bridge.ts';
import { ScriptedFront, until } from './scripted-agent.ts';

/** A client's stream, which takes bytes as the test says. */
export class ClientStream implements StreamHandler {
  readonly stream: TunnelStream;
  isOpen = false;
  received = '';
  receivedBytes = 0;
  hasFin = false;
  /** The target takes no more bytes. */
  isStopped = false;
  /** The error of the end; `ok` without one; undefined: not ended. */
  end: TunnelError | 'ok' | undefined;
  /** While false, the window of received bytes is not given back. */
  isReading = true;
  #unreadBytes = 0;

  constructor(open: (handler: StreamHandler) => TunnelStream) {
    this.stream = open(this);
  }

  onOpened(): void {
    this.isOpen = true;
  }

  onData(bytes: Uint8Array): void {
    this.receivedBytes += bytes.length;
    if (this.received.length < 1000) this.received += Buffer.from(bytes).toString();
    this.#unreadBytes += bytes.length;
    if (this.isReading) this.readOn();
  }

  onFin(): void {
    this.hasFin = true;
  }

  onWritable(): void {}

  onStop(): void {
    this.isStopped = true;
  }

  onClose(error: TunnelError | undefined): void {
    this.end = error ?? 'ok';
  }

  readOn(): void {
    this.isReading = true;
    const unreadBytes = this.#unreadBytes;
    this.#unreadBytes = 0;
    this.stream.consumed(unreadBytes);
  }

  /** Closes as a client does: delivers what was written, and reads no more. */
  close(): void {
    this.stream.stopReceiving();
    this.stream.fin();
  }
}

export interface AgentsWorld extends AsyncDisposable {
  readonly clock: VirtualClock;
  readonly relay: Relay;
  readonly front: ScriptedFront;
  readonly agents: RunningKonnectivityAgents;
  readonly metrics: TestMetrics;
  readonly packets: PacketCounts;
  /** Log lines of level warn, as `event code`. */
  readonly warnings: string[];
  /** Starts a dial. */
  start(address: string, cluster?: string): ClientStream;
  /** Starts a dial, and resolves when a standard agent has it or when it has ended. */
  dial(address: string, cluster?: string): Promise<ClientStream>;
  /** Resolves when sessions can find the standard agents of the cluster. */
  established(cluster?: string): Promise<void>;
}

/** A broker, a dialer and scripted standard agents in one process, without a network. */
export async function startAgentsWorld(
  certificate: CertificateFiles,
  options: Partial<KonnectivityAgentsOptions> = {},
  parts: Partial<KonnectivityAgentsParts> = {},
): Promise<AgentsWorld> {
  const clock = new VirtualClock(20);
  const front = new ScriptedFront();
  const metrics = new TestMetrics();
  const packets = new PacketCounts();
  const warnings: string[] = [];
  const log = {
    ...silentLogger,
    warn: (event: string, fields: { readonly code?: unknown } = {}) =>
      void warnings.push(`${event} ${String(fields.code)}`),
    child: () => log,
  };
  const directory = new MemoryDirectory();
  const relay = new Relay({ replica: 'r', address: '', directory, clock, log: silentLogger });
  const dialer = new PooledDialer({
    connect: async (cluster) => {
      const [near, far] = memoryLinkPair(queueMicrotask);
      relay.admit(far, { kind: 'dialer', cluster, dialer: 'test' });
      return near;
    },
    clock,
    log: silentLogger,
    software: 'test',
  });
  const agents = await startKonnectivityAgents(
    {
      listen: { host: '127.0.0.1', port: 0 },
      tls: { certFile: certificate.cert, keyFile: certificate.key, clientCaFile: certificate.ca },
      tlsPolicy: defaultTlsPolicy,
      cluster: 'c1',
      serviceAccount: undefined,
      strategies: ['default'],
      serverId: 'server',
      serverCount: 1,
      ...options,
    },
    {
      connect: (agent) => {
        const [near, far] = memoryLinkPair(queueMicrotask);
        relay.admit(far, { ...agent, kind: 'agent', standby: true });
        return near;
      },
      log,
      metrics,
      packets,
      clock,
      startFront: front.start,
      ...parts,
    },
  );
  const start = (address: string, cluster = 'c1'): ClientStream => {
    const [host = '', port] = address.split(':');
    const target = { kind: 'tcp', host, port: Number(port) } as const;
    return new ClientStream((handler) => dialer.open({ cluster, target }, handler));
  };
  return {
    clock,
    relay,
    front,
    agents,
    metrics,
    packets,
    warnings,
    start,
    async dial(address, cluster) {
      const before = front.dialCount;
      const client = start(address, cluster);
      await until(() => front.dialCount > before || client.end !== undefined);
      return client;
    },
    established: (cluster = 'c1') =>
      until(() =>
        [...relay.agents()].some((agent) => agent.cluster === cluster && agent.claim.established),
      ),
    async [Symbol.asyncDispose]() {
      dialer.close();
      await agents.close();
      relay.close();
    },
  };
}
