import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeFrame, FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage } from '../../src/tunnel/message.ts';
import { dialFailure } from '../../testkit/world/front-client.ts';
import { costliestBomb, knownBombs } from '../../testkit/stream/hostile-payload.ts';
import { timesLogged, type World } from '../../testkit/world/world.ts';
import { costOfAttack } from './attack-cost.ts';
import { RawPeer } from '../../testkit/link/raw-peer.ts';
import { type AbusedWorld, startAbusedWorld } from '../../testkit/world/abused-world.ts';

const mib = 1024 * 1024;
/** Without limits an attack of this kind costs hundreds of MiB. */
const maxGrownBytes = 64 * mib;
const floodFrames = 5_000_000;

let abused: AbusedWorld;
let world: World;

beforeAll(async () => {
  abused = await startAbusedWorld();
  ({ world } = abused);
});
beforeEach(() => abused.dialHonestly());
afterAll(() => abused?.[Symbol.asyncDispose]());

let clusters = 0;
/** A broker limits the connections per second of one cluster, so each is from another cluster. */
const openAnother = () => RawPeer.open(world, 'agent', `hostile-${++clusters}`);
const open = () => RawPeer.open(world, 'agent', 'hostile');
const probe = () => abused.probe();
const ping = encodeFrame(FrameType.ping, 0, 0, new Uint8Array(8));

/** CPU time of the broker for one HELLO per connection, in seconds. */
async function cpuOfHellos(count: number, payload: (at: number) => Uint8Array): Promise<number> {
  const cost = await costOfAttack(
    world.broker,
    async () => {
      for (let at = 0; at < count; at++) {
        using link = await openAnother();
        link.send(encodeFrame(FrameType.hello, 0, 0, payload(at)));
        await link.closed();
      }
    },
    probe,
  );
  expect(cost.failedProbes).toEqual([]);
  expect(cost.grownBytes).toBeLessThan(maxGrownBytes);
  return cost.cpuSeconds;
}

describe('A hostile agent', { timeout: 90_000 }, () => {
  it('A hostile agent costs the broker no more with an expensive HELLO than with a plain HELLO', async () => {
    const hello = { major: 9, minor: 0, software: 'x'.repeat(65_000) };
    const plain = await cpuOfHellos(100, () => encodeMessage(hello));
    const bombs = await cpuOfHellos(100, () => costliestBomb);
    expect(bombs).toBeLessThan(0.5 + 3 * plain);
  });

  it('A hostile agent with an expensive OPENED costs the bridge only a failed dial', async () => {
    using link = await open();
    await link.hello();
    const cost = await costOfAttack(
      world.bridge,
      async () => {
        for (const [, bomb] of knownBombs) {
          const failure = dialFailure(abused.client, 'hostile:1');
          const { session, stream } = await link.next(FrameType.open);
          link.send(encodeFrame(FrameType.opened, session, stream, bomb));
          expect((await failure).message).toContain('payload of OPENED');
        }
      },
      probe,
    );
    expect(cost.failedProbes).toEqual([]);
    expect(cost.grownBytes).toBeLessThan(maxGrownBytes);
    expect(cost.cpuSeconds).toBeLessThan(2);
  });

  it.each([
    ['before HELLO', false],
    ['after HELLO', true],
  ])(
    'A hostile agent fills no memory with PINGs whose answers it never reads, %s',
    async (_, greets) => {
      using link = await open();
      if (greets) await link.hello();
      link.stopReading();
      const cost = await costOfAttack(world.broker, () => link.floodSame(floodFrames, ping), probe);
      expect(cost.failedProbes).toEqual([]);
      expect(cost.grownBytes).toBeLessThan(maxGrownBytes);
    },
  );

  it('A hostile agent is disconnected for PINGs that are not 8 bytes long, because their answers would cost more', async () => {
    using link = await open();
    link.stopReading();
    const large = encodeFrame(FrameType.ping, 0, 0, new Uint8Array(60_000));
    const cost = await costOfAttack(world.broker, () => link.floodSame(5000, large), probe);
    expect(cost.grownBytes).toBeLessThan(maxGrownBytes);
    link.readOn();
    expect(await link.closed()).toMatch(/^protocol_error: |^lost$/);
  });

  it('A hostile agent fills no memory with WebSocket pings whose answers it never reads', async () => {
    using link = await open();
    await link.hello();
    link.stopReading();
    const attack = () => link.floodPings(1_000_000);
    const cost = await costOfAttack(world.broker, attack, probe);
    expect(cost.failedProbes).toEqual([]);
    expect(cost.grownBytes).toBeLessThan(maxGrownBytes);
  });

  it('A hostile agent reaches no client with a million frames for sessions of other agents', async () => {
    using link = await open();
    await link.hello();
    const frame = (at: number) => encodeFrame(FrameType.credit, at + 1, 1, new Uint8Array(16));
    const cost = await costOfAttack(world.broker, () => link.flood(1_000_000, frame), probe);
    expect(cost.failedProbes).toEqual([]);
    expect(cost.grownBytes).toBeLessThan(maxGrownBytes);
  });

  it('A hostile agent loses only the stream whose credit it overruns, and the client keeps at most a window', async () => {
    using link = await open();
    await link.hello();
    const dialing = abused.client.dial('hostile:1');
    const { session, stream } = await link.next(FrameType.open);
    link.send(encodeFrame(FrameType.opened, session, stream, encodeMessage({ window: 65_536 })));
    const connection = await dialing;
    const broken = new Promise((resolve) => connection.on('error', resolve).on('close', resolve));
    // The client never reads, so there is no credit beyond the first window.
    connection.pause();
    const data = encodeFrame(FrameType.data, session, stream, new Uint8Array(32 * 1024));
    const cost = await costOfAttack(
      world.bridge,
      async () => {
        await link.floodSame(10_000, data);
        const reset = await link.next(FrameType.reset);
        expect(reset).toMatchObject({ session, stream });
        expect(reset.payload.toString('latin1')).toContain('window_exceeded');
      },
      probe,
    );
    connection.resume();
    await broken;
    expect(cost.failedProbes).toEqual([]);
    expect(cost.grownBytes).toBeLessThan(maxGrownBytes);
    expect(link.isOpen).toBe(true);
  });

  it('A hostile agent that repeats GOAWAY is reported to dialers once', async () => {
    using link = await open();
    await link.hello();
    using dialer = await RawPeer.open(world, 'dialer', 'hostile');
    await dialer.hello();
    const goAway = encodeMessage({ deadlineMs: 0, retryAfterMs: 0, scope: 'agent' });
    const frame = encodeFrame(FrameType.goaway, 0, 0, goAway);
    await link.floodSame(100_000, frame);
    await dialer.next(FrameType.goaway);
    // An answer to this PING comes behind every frame that was sent before.
    link.send(ping);
    await link.next(FrameType.pong);
    dialer.send(ping);
    await dialer.next(FrameType.pong);
    expect(dialer.waiting(FrameType.goaway)).toBe(0);
  });

  it('A hostile agent has not disturbed the agent beside it, which has kept its tunnel all the time', async () => {
    expect(await abused.probe()).toBe('undisturbed');
    expect(timesLogged(world.agent, 'connected to the broker')).toBe(1);
  });
});
