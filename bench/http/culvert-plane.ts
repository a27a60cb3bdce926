import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { agentNamespace, agentServiceAccount } from '../../testkit/ground/http/managed-api.ts';
import type { RunningApiServer } from '../../testkit/ground/kubernetes/api-server.ts';
import { startProgram, type Program } from '../../testkit/processes/process.ts';
import type { TestCertificates } from '../../testkit/world/certificates.ts';
import { culvert, logged, loggedLine, TestTokens } from '../../testkit/world/world.ts';

/** A broker with a gateway and a konnectivity front, and an agent. */
export interface CulvertPlane {
  readonly url: string;
  readonly front: string;
  readonly broker: Program;
  readonly agent: Program;
}

export interface CulvertPlaneOptions {
  readonly certificates: TestCertificates;
  readonly server: RunningApiServer;
  readonly cluster: string;
  readonly directory: string;
  /** The directory for CPU profiles of both processes. */
  readonly cpuProfiles?: string | undefined;
}

export async function startCulvertPlane(
  stack: AsyncDisposableStack,
  { certificates, server: api, cluster, directory, cpuProfiles }: CulvertPlaneOptions,
): Promise<CulvertPlane> {
  const { server, client } = certificates;
  const tokens = await TestTokens.create(directory);
  const start = (command: string, args: readonly string[]): Program => {
    const program = culvert(command, args, { CULVERT_LOG_LEVEL: 'info' });
    const name = `${command}.cpuprofile`;
    const profile =
      cpuProfiles === undefined
        ? []
        : ['--cpu-prof', '--cpu-prof-dir', cpuProfiles, '--cpu-prof-name', name];
    const all = [...profile, ...(program.args ?? [])];
    return stack.use(startProgram({ ...program, args: all, killAfterMs: 15_000 }));
  };
  const broker = start('broker', [
    ...['--listen', '127.0.0.1:0', '--tls-cert', server.cert, '--tls-key', server.key],
    ...['--token-public-key', tokens.publicKeyFile, '--drain-timeout', '1s'],
    ...['--gateway-listen', '127.0.0.1:0', '--gateway-min-drain', '1s'],
    ...['--gateway-tls-cert', server.cert, '--gateway-tls-key', server.key],
    // One user makes all requests.
    ...['--gateway-max-requests', '1000', '--gateway-max-watches', '5000'],
    ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-client-ca', client.ca],
    ...['--konnectivity-tls-cert', server.cert, '--konnectivity-tls-key', server.key],
  ]);
  const url = await logged(broker, 'broker listens', 'url');
  const gateway = await logged(broker, 'gateway listens', 'url');
  const { addresses } = await loggedLine(broker, 'konnectivity bridge listens');
  const token = await tokens.file(await tokens.issue({ kind: 'agent', cluster }));
  const own = join(directory, 'agent-token');
  const durationSeconds = 86_400;
  await writeFile(own, await api.token(agentNamespace, agentServiceAccount, { durationSeconds }));
  const agent = start('agent', [
    ...['--broker-url', url, '--ca-file', server.ca, '--cluster', cluster, '--token-file', token],
    ...['--tunnels', '1', '--kube-apiserver', '127.0.0.1:443'],
    ...['--kube-ca-file', api.caFile, '--kube-token-file', own],
  ]);
  await loggedLine(agent, 'connected to the broker');
  return {
    url: `${gateway.replace(/\/$/, '')}/${cluster}`,
    front: (addresses as string[])[0]!,
    broker,
    agent,
  };
}
