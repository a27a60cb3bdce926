import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage } from '../../src/tunnel/message.ts';
import { costliestBomb } from '../../testkit/stream/hostile-payload.ts';
import type { Program } from '../../testkit/processes/process.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { timesLogged, type World } from '../../testkit/world/world.ts';
import { costOfAttack } from './attack-cost.ts';
import { RawPeer } from '../../testkit/link/raw-peer.ts';
import { type AbusedWorld, startAbusedWorld } from '../../testkit/world/abused-world.ts';

const mib = 1024 * 1024;
/** How much a process may grow. A busy agent always keeps up to 100 MiB of garbage. */
const maxGrownBytes = { broker: 64 * mib, agent: 192 * mib };

let abused: AbusedWorld;
let world: World;
let sink: TestTarget;

beforeAll(async () => {
  abused = await startAbusedWorld();
  ({ world } = abused);
  sink = await startTarget({ mode: 'never-reads' });
});
beforeEach(() => abused.dialHonestly());
afterAll(() => Promise.all([abused?.[Symbol.asyncDispose](), sink?.close()]));

const connect = () => RawPeer.open(world, 'dialer', 'cluster1');
const probe = () => abused.probe();

/** An OPEN that the agent's list of destinations forbids, so it is answered at once. */
function forbiddenOpen(session: number, stream: number): Uint8Array {
  const open = { kind: 'tcp', host: 'no.example', port: 1, window: 65_536, timeoutMs: 0 };
  return encodeFrame(FrameType.open, session, stream, encodeMessage(open));
}

/**
 * Runs an attack and checks broker, agent and honest client. Resolves with the CPU time of each in
 * seconds, and with the number of times that the client was served.
 */
async function expectNoHarm(
  attack: () => Promise<unknown>,
): Promise<{ broker: number; agent: number; goodProbes: number }> {
  const measured = async (name: 'broker' | 'agent', run: () => Promise<unknown>) => {
    const program: Program = world[name];
    const cost = await costOfAttack(program, run, probe);
    expect(cost.failedProbes).toEqual([]);
    expect(cost.grownBytes).toBeLessThan(maxGrownBytes[name]);
    goodProbes = cost.goodProbes;
    return cost.cpuSeconds;
  };
  let broker = 0;
  let goodProbes = 0;
  const agent = await measured('agent', async () => {
    broker = await measured('broker', attack);
  });
  return { broker, agent, goodProbes };
}

describe('A hostile dialer', { timeout: 90_000 }, () => {
  it('A hostile dialer costs the broker no more with an expensive HELLO than with a plain HELLO', async () => {
    const hellos = (payload: (at: number) => Uint8Array) => async () => {
      for (let at = 0; at < 100; at++) {
        using link = await connect();
        link.send(encodeFrame(FrameType.hello, 0, 0, payload(at)));
        await link.closed();
      }
    };
    const hello = { major: 9, minor: 0, software: 'x'.repeat(65_000) };
    const plain = await expectNoHarm(hellos(() => encodeMessage(hello)));
    const bombs = await expectNoHarm(hellos(() => costliestBomb));
    expect(bombs.broker).toBeLessThan(0.5 + 3 * plain.broker);
  });

  it('A hostile dialer costs the agent no more with an expensive OPEN than with a plain OPEN', async () => {
    using link = await connect();
    const session = await link.hello();
    let stream = 0;
    const opens = (payload: (at: number) => Uint8Array) => async () => {
      for (let at = 0; at < 100; at++) {
        link.send(encodeFrame(FrameType.open, session, ++stream, payload(at)));
        await link.next(FrameType.reset);
      }
    };
    const open = { kind: 'tcp', host: 'x'.repeat(65_000), port: 1 };
    const plain = await expectNoHarm(opens(() => encodeMessage(open)));
    const bombs = await expectNoHarm(opens(() => costliestBomb));
    expect(bombs.agent).toBeLessThan(0.5 + 3 * plain.agent);
  });

  it('A hostile dialer fills no memory with PINGs to the broker whose answers it never reads', async () => {
    using link = await connect();
    await link.hello();
    link.stopReading();
    const ping = encodeFrame(FrameType.ping, 0, 0, new Uint8Array(8));
    await expectNoHarm(() => link.floodSame(5_000_000, ping));
  });

  it('A hostile dialer fills no memory with PINGs to the agent whose answers it never reads', async () => {
    using link = await connect();
    const session = await link.hello();
    link.stopReading();
    const ping = encodeFrame(FrameType.ping, session, 0, new Uint8Array(8));
    await expectNoHarm(() => link.floodSame(4_000_000, ping));
  });

  it('A hostile dialer fills no memory with dials whose refusals it never reads, and delays no honest dial', async () => {
    using link = await connect();
    const session = await link.hello();
    link.stopReading();
    const attack = () => link.flood(300_000, (at) => forbiddenOpen(session, at + 1));
    const { goodProbes } = await expectNoHarm(attack);
    // If it waited behind these dials in the agent's tunnel, there would be time for two or three.
    expect(goodProbes).toBeGreaterThan(20);
  });

  it('A hostile dialer fills no memory of the agent with dials that it sends before its SYNC', async () => {
    using first = await connect();
    const name = crypto.randomUUID().replaceAll('-', '');
    const firstSession = await first.hello({ session: name });
    first.send(forbiddenOpen(firstSession, 1));
    await first.next(FrameType.refused);
    using link = await connect();
    const session = await link.hello({ session: name, resume: first.agent });
    // No SYNC follows, so the agent must not answer any of the dials yet.
    await expectNoHarm(() => link.flood(200_000, (at) => forbiddenOpen(session, at + 2)));
  });

  it('A hostile dialer loses only the stream whose credit it overruns', async () => {
    using link = await connect();
    const session = await link.hello();
    const to = { kind: 'tcp', host: 'cluster1', window: 65_536, timeoutMs: 0 };
    for (const [at, { port }] of [sink, abused.target].entries()) {
      const open = encodeMessage({ ...to, port });
      link.send(encodeFrame(FrameType.open, session, at + 1, open));
      expect((await link.next(FrameType.opened)).stream).toBe(at + 1);
    }
    const data = encodeFrame(FrameType.data, session, 1, new Uint8Array(32 * 1024));
    await expectNoHarm(async () => {
      await link.floodSame(10_000, data);
      const reset = await link.next(FrameType.reset);
      expect(reset.stream).toBe(1);
      expect(reset.payload.toString('latin1')).toContain('window_exceeded');
    });
    link.send(encodeFrame(FrameType.data, session, 2, Buffer.from('still here')));
    expect((await link.next(FrameType.data)).payload.toString()).toBe('still here');
  });

  it('A hostile dialer is stopped by flow control when it sends without end to a target that does not read', async () => {
    const connection = await abused.client.dial(`cluster1:${sink.port}`);
    connection.on('error', () => {});
    await expectNoHarm(async () => {
      for (let at = 0; at < 2000 && connection.writableLength < 8 * mib; at++) {
        connection.write(Buffer.alloc(64 * 1024));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    connection.destroy();
  });

  it('A hostile dialer has not disturbed the agent, which has kept its tunnel all the time', async () => {
    expect(await abused.probe()).toBe('undisturbed');
    expect(timesLogged(world.agent, 'connected to the broker')).toBe(1);
  });
});
