import { afterAll, beforeAll, expect, it } from 'vitest';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { dialFailure, echo, openClient } from '../../testkit/world/front-client.ts';
import { startProgram, type Program } from '../../testkit/processes/process.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { culvert, logged, loggedLine, startWorld, type World } from '../../testkit/world/world.ts';
import { type Address, probeLikeKubelet, withOpenFiles } from '../../testkit/network/stranger.ts';

/** 32 are reserved, and three quarters of the rest are for targets. */
const openFiles = 128;
const socketsOfTargets = 72;

let target: TestTarget;
let world: World;
let agent: Program;
let client: KonnectivityClient;

beforeAll(async () => {
  target = await startTarget({ mode: 'echo' });
  world = await startWorld({ plain: true });
  const token = await world.tokens.issue({ kind: 'agent', cluster: 'small' });
  const flags = ['--broker-url', world.brokerUrl, '--cluster', 'small', '--tunnels', '1'];
  const file = await world.tokens.file(token);
  const own = ['--token-file', file, '--kube-apiserver', '127.0.0.1'];
  const status = ['--status-listen', '127.0.0.1:0'];
  agent = startProgram(withOpenFiles(openFiles, culvert('agent', [...flags, ...own, ...status])));
  await loggedLine(agent, 'connected to the broker');
  client = await openClient(world.front);
}, 60_000);
afterAll(async () => {
  client?.close();
  await agent?.stop();
  await world?.[Symbol.asyncDispose]();
  await target?.close();
});

it(
  'A dialer that opens more connections than the agent has descriptors gets an error, and harms neither probes nor streams of the agent',
  { timeout: 60_000 },
  async () => {
    const address = (await logged(agent, 'status listens', 'address')) as Address;
    const to = `small:${target.port}`;
    const first = await client.dial(to);
    const connections = [first];
    first.on('error', () => {});
    let refusal = '';
    for (let at = 0; at < 200 && refusal === ''; at++) {
      try {
        const connection = await client.dial(to);
        connection.on('error', () => {});
        connections.push(connection);
      } catch (thrown) {
        refusal = String(thrown);
      }
    }
    expect(refusal).toContain(`may have ${socketsOfTargets} sockets`);
    expect(refusal).toContain(`${openFiles} open files`);
    expect(connections.length).toBeGreaterThanOrEqual(socketsOfTargets - 2);
    for (let at = 0; at < 20; at++) {
      expect((await dialFailure(client, to)).message).toContain('open files');
    }
    await probeLikeKubelet(address, '/healthz');
    await probeLikeKubelet(address, '/readyz');
    expect(await echo(first, 'still there')).toBe('still there');
    for (const connection of connections.splice(1)) connection.destroy();
    await expect
      .poll(
        async () => {
          const connection = await client.dial(to).catch(() => undefined);
          connection?.on('error', () => {});
          const served = connection !== undefined && (await echo(connection, 'again')) === 'again';
          connection?.destroy();
          return served;
        },
        { timeout: 20_000 },
      )
      .toBe(true);
  },
);
