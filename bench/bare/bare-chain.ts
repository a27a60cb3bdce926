import { fileURLToPath } from 'node:url';
import { startProgram, type Program } from '../../testkit/processes/process.ts';
import type { TestCertificates } from '../../testkit/world/certificates.ts';
import type { BareAgentOptions, BareBrokerOptions, BareTarget } from './bare-protocol.ts';

export interface BareChainOptions {
  readonly certificates: TestCertificates;
  /** Whether clients must show a certificate. */
  readonly hasClientCertificates: boolean;
  readonly target: BareTarget;
}

/**
 * Two Node processes with the TLS connections of a broker and an agent, and nothing else: the lower
 * bound of a tunnel in Node.
 */
export interface BareChain {
  readonly broker: Program;
  readonly agent: Program;
  /** A TLS client of this address is joined with the target. Each client has a link of its own. */
  readonly address: string;
  /** For clients of both kinds, which share one link. */
  readonly sharedAddress: string;
  /** A konnectivity client of this address is joined with the target. */
  readonly grpcAddress: string;
  /**
   * A TLS client of this address gets one byte when a connection to the target is open. A
   * konnectivity client gets the answers to a dial and a close.
   */
  readonly dialAddress: string;
}

export async function startBareChain(
  stack: AsyncDisposableStack,
  { certificates, hasClientCertificates, target }: BareChainOptions,
): Promise<BareChain> {
  const { server, client, agent: certificate } = certificates;
  const start = (name: string, options: BareBrokerOptions | BareAgentOptions): Program => {
    const file = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
    const args = [file, JSON.stringify(options)];
    return stack.use(startProgram({ command: process.execPath, args, name }));
  };
  const broker = start('bare-broker', {
    cert: server.cert,
    key: server.key,
    agentCa: certificate.ca,
    clientCa: hasClientCertificates ? client.ca : undefined,
  });
  const [, text = ''] = await broker.waitForLine(/^bare broker listens on (.*)/);
  const ports = JSON.parse(text) as Record<
    'front' | 'sharing' | 'grpc' | 'dials' | 'links',
    number
  >;
  const brokerCa = server.ca;
  const agent = start('bare-agent', { linkPort: ports.links, brokerCa, certificate, target });
  await agent.waitForLine(/^bare agent is ready/);
  return {
    broker,
    agent,
    address: `127.0.0.1:${ports.front}`,
    grpcAddress: `127.0.0.1:${ports.grpc}`,
    sharedAddress: `127.0.0.1:${ports.sharing}`,
    dialAddress: `127.0.0.1:${ports.dials}`,
  };
}
