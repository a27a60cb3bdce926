import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import type { BrokerStatus } from '../../src/broker/status.ts';
import { DialError } from '../../src/konnectivity-client/dial-error.ts';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { askBroker } from '../../testkit/world/broker-http.ts';
import { untilConnecting } from '../../testkit/network/connecting-sockets.ts';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { openSockets, untilSockets } from '../../testkit/processes/open-files.ts';
import { freePort, startProgram } from '../../testkit/processes/process.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';
import { loggedLine, node, startWorld, type World } from '../../testkit/world/world.ts';

const hangingClient = fileURLToPath(
  new URL('../../testkit/world/hanging-client.ts', import.meta.url),
);
/** Of the 300 dials, how many of each kind. */
const counts = { served: 150, refused: 50, cancelled: 50, killed: 50 };

/** Does it `count` times, all at once. */
async function atOnce<T>(count: number, work: () => Promise<T>): Promise<T[]> {
  return await Promise.all(Array.from({ length: count }, () => work()));
}

async function reasonOf(dial: Promise<unknown>): Promise<string> {
  try {
    await dial;
    return 'it succeeded';
  } catch (thrown) {
    return thrown instanceof DialError ? thrown.reason : String(thrown);
  }
}

/** Dials without an answer. All are cancelled together when the agent is dialing each of them. */
async function cancelDials(client: KonnectivityClient): Promise<string[]> {
  await using silent = await startUnansweringPort();
  const giveUp = new AbortController();
  const dials = atOnce(counts.cancelled, () =>
    reasonOf(client.dial(`cluster1:${silent.port}`, { signal: giveUp.signal })),
  );
  await untilConnecting(silent.port, counts.cancelled);
  giveUp.abort();
  const reasons = await dials;
  await untilConnecting(silent.port, 0);
  return reasons;
}

async function killClient(world: World, to: string): Promise<void> {
  await using client = startProgram({
    command: node,
    args: [hangingClient, JSON.stringify(world.front), to, `${counts.killed}`],
    name: 'hanging client',
  });
  await client.waitForLine(/^holding/);
  client.kill('SIGKILL');
  await client.exited;
}

it(
  'leak per aborted stream: 300 dials leave nothing behind, for each kind of end',
  { timeout: 60_000 },
  async () => {
    await using world = await startWorld({
      bridgeApart: true,
      // Longer than this test waits, because a cancelled dial must not end by itself.
      agentArgs: ['--dial-timeout', '1m'],
    });
    await using target = await startTarget({ mode: 'echo' });
    const to = `cluster1:${target.port}`;
    await using client = await openClient(world.front);
    const agentBefore = await openSockets(world.agent);
    // The first dial makes the session and the connection of the client. Both stay.
    await isServed(client, to);
    const brokerBefore = await openSockets(world.broker);
    const bridgeBefore = await openSockets(world.bridge);

    const served = await atOnce(counts.served, () => isServed(client, to));
    expect(new Set(served)).toEqual(new Set([true]));
    const closed = await freePort();
    const refused = await atOnce(counts.refused, () => reasonOf(client.dial(`cluster1:${closed}`)));
    expect(new Set(refused)).toEqual(new Set(['endpoint']));
    expect(new Set(await cancelDials(client))).toEqual(new Set(['context']));
    await killClient(world, to);

    await target.waitForReports(1 + counts.served + counts.killed);
    expect(target.openCount).toBe(0);
    await untilSockets(world.agent, agentBefore);
    await untilSockets(world.broker, brokerBefore);
    await untilSockets(world.bridge, bridgeBefore);

    const token = await world.tokens.issue({ kind: 'dialer', name: 'test' });
    const status = JSON.parse((await askBroker(world, '/v1/status', token)).body) as BrokerStatus;
    expect(status.dialers).toBe(1);
    expect(status.clusters).toMatchObject([{ cluster: 'cluster1', agents: [{ sessions: 1 }] }]);
    const { body: metrics } = await askBroker(world, '/metrics');
    expect(metrics).toMatch(/^culvert_broker_sessions 1$/m);

    // A remaining stream would delay the end, and a remaining call would be counted by the bridge.
    expect(await world.agent.stop()).toEqual({ code: 0, signal: null });
    expect(await world.bridge.stop()).toEqual({ code: 0, signal: null });
    expect(await loggedLine(world.bridge, 'konnectivity bridge drains')).toMatchObject({
      calls: 0,
      flushing: 0,
    });
  },
);
