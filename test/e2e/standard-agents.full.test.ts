import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runClient, type FrontAccess } from '../../testkit/ground/konnectivity-client.ts';
import { startUpstreamAgent } from '../../testkit/ground/upstream.ts';
import type { Program } from '../../testkit/processes/process.ts';
import { freePort } from '../../testkit/processes/process.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { startTarget, targetBody } from '../../testkit/world/target.ts';
import { logged, startCulvert } from '../../testkit/world/world.ts';

const real = { go: await ground.go(), programs: await ground.upstream() };

/** The port in `127.0.0.1:PORT`. */
function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

describeWith(real, "upstream's agents at our broker", ({ go, programs }) => {
  let certificates: TestCertificates;
  let broker: Program;
  let front: FrontAccess;
  let agentPort: number;

  beforeAll(async () => {
    certificates = await makeTestCertificates();
    const { server, client, agent } = certificates;
    broker = startCulvert('broker', [
      ...['--listen', '127.0.0.1:0', '--cluster', 'cluster1'],
      ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-tls-cert', server.cert],
      ...['--konnectivity-tls-key', server.key, '--konnectivity-client-ca', client.ca],
      ...['--konnectivity-agent-listen', '127.0.0.1:0', '--konnectivity-agent-ca', agent.ca],
      ...['--konnectivity-agent-tls-cert', server.cert, '--konnectivity-agent-tls-key', server.key],
    ]);
    agentPort = portOf(await logged(broker, 'konnectivity agents are accepted', 'address'));
    const addresses = await logged(broker, 'konnectivity bridge listens', 'addresses');
    front = { address: addresses, tls: { serverCa: server.ca, client } };
  });

  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    await certificates?.[Symbol.asyncDispose]();
  });

  const startAgent = async (args: readonly string[] = []): Promise<Program> => {
    const { server, agent } = certificates;
    const access = { port: agentPort, serverCa: server.ca, agent };
    return await startUpstreamAgent(programs, access, { args });
  };

  it('An agent of upstream serves a GET of the Go client', async () => {
    await using agent = await startAgent();
    await broker.waitForLine(/konnectivity agent connected/);
    await using target = await startTarget({ mode: 'http' });
    const got = await runClient(go, front, 'get', `http://${target.address}/`);
    expect(got).toMatchObject({ ok: true, status: 200, body: targetBody });
    const to = `127.0.0.1:${await freePort()}`;
    const refused = await runClient(go, front, 'dial-error', '--to', to);
    expect(refused).toMatchObject({ ok: true, isDialFailure: true, reason: 'endpoint' });
    expect(refused['dialError']).toContain('connection refused');
    agent.kill('SIGKILL');
  });
});
