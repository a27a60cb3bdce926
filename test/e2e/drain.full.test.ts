import { describe, expect, it } from 'vitest';
import { askBroker } from '../../testkit/world/broker-http.ts';
import {
  dialFailure,
  echo,
  ended,
  isServed,
  openClient,
} from '../../testkit/world/front-client.ts';
import type { Program } from '../../testkit/processes/process.ts';
import { startTarget } from '../../testkit/world/target.ts';
import {
  loggedLine,
  startWorld,
  timesLogged,
  type World,
  type WorldOptions,
} from '../../testkit/world/world.ts';

const noAgent = 'No agent available';
const inOrder = { code: 0, signal: null };

/** A world with an open stream that has carried some bytes. */
async function worldWithStream(options: WorldOptions = {}) {
  await using stack = new AsyncDisposableStack();
  const world = stack.use(await startWorld({ bridgeApart: true, ...options }));
  const target = stack.use(await startTarget({ mode: 'echo' }));
  const client = stack.use(await openClient(world.front));
  const to = `cluster1:${target.port}`;
  const connection = await client.dial(to);
  // The tests check the end of the connection if it matters.
  connection.on('error', () => {});
  expect(await echo(connection, 'before')).toBe('before');
  const running = stack.move();
  return {
    world,
    target,
    client,
    to,
    connection,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

type Role = 'agent' | 'broker' | 'bridge';
const roles: readonly Role[] = ['agent', 'broker', 'bridge'];
/** The programs, and also the broker with the bridge in its process. */
const programs: readonly [string, Role, WorldOptions][] = [
  ['agent', 'agent', {}],
  ['broker', 'broker', {}],
  ['broker with its own bridge', 'broker', { bridgeApart: false }],
  ['bridge', 'bridge', {}],
];

/** Sends SIGTERM and resolves when the openers of new streams know about the drain. */
async function drain(world: World, role: Role): Promise<Program> {
  world[role].kill('SIGTERM');
  await loggedLine(world[role], 'draining');
  const heard = role === 'bridge' ? 'konnectivity bridge drains' : 'session is asked to leave';
  await loggedLine(world.bridge, heard);
  return world[role];
}

describe('A program that receives SIGTERM', () => {
  it.each(programs)(
    'A program that receives SIGTERM lets an open stream come to its end (%s)',
    async (_, role, options) => {
      await using open = await worldWithStream(options);
      const { world, connection, target } = open;
      const program = await drain(world, role);
      expect(await echo(connection, 'while it drains')).toBe('while it drains');
      connection.end('and the last words');
      expect(await ended(connection)).toBeUndefined();
      expect((await target.waitForReports(1))[0]).toMatchObject({ receivedBytes: 39, end: 'fin' });
      expect(await program.exited).toEqual(inOrder);
    },
  );

  it.each(programs.filter(([name]) => name !== 'broker'))(
    'A program that receives SIGTERM exits after --drain-timeout although a stream is open (%s)',
    async (_, role, options) => {
      const commonArgs = ['--drain-timeout', '700ms'];
      await using open = await worldWithStream({ ...options, commonArgs });
      const { world, connection, target } = open;
      const program = await drain(world, role);
      expect(timesLogged(program, 'stopped')).toBe(0);
      await ended(connection);
      // A reset and not an orderly end, so that the target does not treat the data as complete.
      expect((await target.waitForReports(1))[0]).toMatchObject({ end: 'reset' });
      expect(await program.exited).toEqual(inOrder);
      expect(timesLogged(program, 'stopped')).toBe(1);
    },
  );

  it('A broker that receives SIGTERM exits after --drain-timeout, and the stream continues when a broker is back', async () => {
    await using open = await worldWithStream({ commonArgs: ['--drain-timeout', '700ms'] });
    const { world, connection } = open;
    const program = await drain(world, 'broker');
    expect(await program.exited).toEqual(inOrder);
    await world.restartBroker();
    expect(await echo(connection, 'where was I')).toBe('where was I');
  });

  it.each(roles)(
    'A program that receives a second SIGTERM exits at once, with exit code 1 (%s)',
    async (role) => {
      await using open = await worldWithStream();
      const program = await drain(open.world, role);
      program.kill('SIGTERM');
      expect(await program.exited).toEqual({ code: 1, signal: null });
      expect(timesLogged(program, 'second signal, leaving at once')).toBe(1);
    },
  );

  it.each<[Role, string]>([
    ['agent', noAgent],
    ['broker', 'this broker is shutting down'],
    // Dials wait for an agent or for another broker before they fail, so this takes time.
  ])(
    'A program that receives SIGTERM refuses new dials with the reason (%s)',
    { timeout: 60_000 },
    async (role, text) => {
      await using open = await worldWithStream();
      await drain(open.world, role);
      expect((await dialFailure(open.client, open.to)).message).toContain(text);
      expect(await echo(open.connection, 'goes on')).toBe('goes on');
    },
  );

  it('A bridge that receives SIGTERM still serves dials of a client that does not know yet, and refuses later ones with UNAVAILABLE', async () => {
    await using open = await worldWithStream();
    const { world, client, to, connection } = open;
    await drain(world, 'bridge');
    const problems: string[] = [];
    const dial = async () => {
      const failure = await client.dial(to).then(
        (served) => void served.destroy(),
        (error: Error) => error.message,
      );
      if (failure !== undefined) problems.push(failure);
      return problems.length;
    };
    await expect.poll(dial, { timeout: 30_000 }).toBeGreaterThanOrEqual(3);
    // In gRPC's own words, so that clients look for another bridge.
    for (const problem of problems) expect(problem).toContain('UNAVAILABLE');
    expect(await echo(connection, 'goes on')).toBe('goes on');
  });

  it('A broker that receives SIGTERM is healthy but not ready while it drains', async () => {
    await using open = await worldWithStream();
    const { world } = open;
    const ask = async (path: string) => (await askBroker(world, path)).status;
    expect([await ask('/healthz'), await ask('/readyz')]).toEqual([200, 200]);
    await drain(world, 'broker');
    expect([await ask('/healthz'), await ask('/readyz')]).toEqual([200, 503]);
  });

  it.each(roles)(
    'A program that receives SIGTERM exits at once if no stream is open (%s)',
    async (role) => {
      await using world = await startWorld({ bridgeApart: true });
      expect(await world[role].stop()).toEqual(inOrder);
    },
  );
});

describe('A broker that is killed', () => {
  it(
    'The streams of a broker that is killed wait for a broker, and continue when it is back',
    { timeout: 30_000 },
    async () => {
      await using open = await worldWithStream();
      const { world, client, connection, to } = open;
      world.broker.kill('SIGKILL');
      await world.broker.exited;
      expect((await dialFailure(client, to)).message).toContain('no connection to the broker');
      await world.restartBroker();
      expect(await echo(connection, 'where was I')).toBe('where was I');
      expect(await isServed(client, to)).toBe(true);
    },
  );
});

describe('An agent that is killed', () => {
  it('The streams of an agent that is killed end at once, and another agent takes its place', async () => {
    await using open = await worldWithStream();
    const { world, client, connection, to } = open;
    world.agent.kill('SIGKILL');
    expect((await ended(connection))?.message).toContain('the agent of cluster cluster1 was lost');
    expect((await dialFailure(client, to)).message).toBe(noAgent);
    await world.restartAgent();
    expect(await isServed(client, to)).toBe(true);
  });
});
