import { describe, expect, it } from 'vitest';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { loggedLine, startWorld } from '../../testkit/world/world.ts';

describe('The only broker is killed and started again', { timeout: 90_000 }, () => {
  it('Dials at a bridge in the process of the broker wait for the agent after the restart, and none fails', async () => {
    await using world = await startWorld();
    await using target = await startTarget({ mode: 'echo' });
    const { broker } = world;
    broker.kill('SIGKILL');
    await broker.exited;
    // It returns when konnectivity clients can connect, which is before the agent is back.
    await world.restartBroker();
    await using client = await openClient(world.front);
    const dials = Array.from({ length: 20 }, () => isServed(client, `cluster1:${target.port}`));
    expect(new Set(await Promise.all(dials))).toEqual(new Set([true]));
  });

  it('Dials at a bridge in another process wait for broker and agent, and none fails', async () => {
    await using world = await startWorld({ bridgeApart: true });
    await using target = await startTarget({ mode: 'echo' });
    await using client = await openClient(world.front);
    const to = `cluster1:${target.port}`;
    expect(await isServed(client, to)).toBe(true);
    const { broker } = world;
    broker.kill('SIGKILL');
    await broker.exited;
    const away = Array.from({ length: 20 }, () => isServed(client, to));
    await loggedLine(world.bridge, 'session not resumed yet');
    await world.restartBroker();
    const back = Array.from({ length: 20 }, () => isServed(client, to));
    expect(new Set(await Promise.all([...away, ...back]))).toEqual(new Set([true]));
  });
});
