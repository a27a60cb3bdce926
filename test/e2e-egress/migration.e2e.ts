import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { startProgram } from '../../testkit/processes/process.ts';
import { loggedLine, timesLogged } from '../../testkit/world/world.ts';
import { CulvertEgress } from './support/culvert-egress.ts';
import { startHub } from './support/hub.ts';
import { FollowedLogs, Load, loadKinds } from './support/load.ts';
import { grpcOverUds } from './support/modes.ts';
import { podName } from './support/objects.ts';
import { egressPrograms } from './support/prepare.ts';
import { agentIsConnected, agentOptions, agentPort } from './support/upstream-egress.ts';

const programs = await egressPrograms();

it("A kube-apiserver keeps its konnectivity agents behind culvert's broker, and moves to culvert's agents without a failed request", async () => {
  await using hub = await startHub(programs, { connection: grpcOverUds.connection });
  const address = hub.cluster.otherAddress;
  const server = await hub.pki.issue({
    name: 'konnectivity',
    user: 'konnectivity',
    ipAddresses: [address],
  });
  await using egress = await CulvertEgress.start(hub, {
    form: 'inside',
    agents: 0,
    frontArgs: grpcOverUds.frontArgs(hub),
    brokerArgs: [
      ...['--konnectivity-agent-listen', `${address}:${agentPort}`],
      ...['--konnectivity-agent-ca', hub.pki.ca.cert],
      ...['--konnectivity-agent-tls-cert', server.cert],
      ...['--konnectivity-agent-tls-key', server.key],
    ],
  });
  await using agent = startProgram(
    hub.cluster.inside(agentOptions(hub, programs.upstream, server, 0)),
  );
  await agent.waitForLine(agentIsConnected);

  const load = await Load.start(hub);
  const input = randomBytes(1024 * 1024).toString('hex');
  const copied = await hub.kubectl.run(['exec', '-i', podName, '--', 'cat'], { input });
  expect(copied === input).toBe(true);
  await using logs = await FollowedLogs.start(hub);

  await egress.addAgent();
  await load.untilSteady();
  await logs.untilLater();
  expect(await logs.stop()).toMatchObject({ missing: 0, endedWith: undefined });
  const result = await load.stop();
  for (const kind of loadKinds) expect(result[kind]).toMatchObject({ failed: 0 });

  agent.kill('SIGKILL');
  await loggedLine(egress.broker, 'konnectivity agent disconnected');
  // Starts when every kind of request succeeds again.
  const later = await Load.start(hub);
  await later.untilSteady();
  expect(await later.stop()).toMatchObject({ node: { failed: 0 } });
  expect(timesLogged(egress.agents[0]!, 'target dialed')).toBeGreaterThan(0);
});
