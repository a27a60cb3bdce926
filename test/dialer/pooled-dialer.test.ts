import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { defaultLimits } from '../../src/tunnel/limits.ts';
import { decodeFailure, encodeMessage } from '../../src/tunnel/message.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { decodeOpen } from '../../src/tunnel/open-message.ts';
import type { TunnelStream } from '../../src/tunnel/stream-handler.ts';
import { sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { collectGarbage } from '../../testkit/processes/collect-garbage.ts';
import { playedDialer, sessionNumber, welcome, withStream } from './played-dialer.ts';

const opened = encodeMessage({ window: 1_000_000 });
const agentLost = new TunnelError('agent_lost', 'the agent is gone');

/**
 * A dial whose agent is lost before it answers, while the session has another open stream. The
 * broker has a second agent of the cluster.
 */
async function lostDial(act: (stream: TunnelStream) => void = () => {}) {
  const played = await withStream();
  act(played.open());
  await played.clock.advance(0);
  played.links[0]!.link.close(agentLost);
  const attempt = await played.linked(2);
  attempt.link.close(agentLost);
  await played.clock.advance(0);
  return played;
}

describe('A dial whose agent is lost before it answers', () => {
  it('A dial whose agent is lost is repeated at another agent by the dialer, within the time that is left', async () => {
    const { links, say, ends, openedCount } = await lostDial();
    expect(links).toHaveLength(3);
    await say(FrameType.welcome, welcome, 0);
    const open = await links[2]!.next(FrameType.open);
    expect(decodeOpen(open.payload).timeoutMs).toBeLessThan(10_000);
    await say(FrameType.opened, opened, sessionNumber, open.stream);
    // The older stream counts as well.
    expect([openedCount(), ends]).toEqual([2, []]);
  });

  it('A dial fails if the second agent is lost as well, because there is no third attempt', async () => {
    const { links, say, ends, clock } = await lostDial();
    await say(FrameType.welcome, welcome, 0);
    links[2]!.link.close(agentLost);
    for (let waitedMs = 0; ends.length < 2 && waitedMs < 60_000; waitedMs += 100) {
      for (const { link } of links)
        link.close(new TunnelError('no_agent', 'no agent is connected'));
      await clock.advance(100);
    }
    // The first one is the older stream.
    expect(ends).toEqual(['agent_lost', 'agent_lost']);
  });

  it.each([
    ['written', (stream: TunnelStream) => stream.write(new Uint8Array(1))],
    ['ended its direction', (stream: TunnelStream) => stream.fin()],
    ['asked for no more bytes', (stream: TunnelStream) => stream.stopReceiving()],
  ])('A dial whose agent is lost is not repeated if its user has already %s', async (_, act) => {
    const { links, ends } = await lostDial(act);
    expect([links.length, ends]).toEqual([2, ['agent_lost']]);
  });
});

describe('A dial that has succeeded', () => {
  it('A dial that has succeeded keeps nothing of its target, which has the head of a request', async () => {
    const { open, linked, links, say, openedCount } = playedDialer();
    const dial = (): readonly [TunnelStream, WeakRef<object>] => {
      const target = { ...sampleTarget };
      return [open({ target }), new WeakRef(target)];
    };
    const [stream, target] = dial();
    await linked(1);
    await say(FrameType.welcome, welcome, 0);
    const { stream: number } = await links[0]!.next(FrameType.open);
    await say(FrameType.opened, opened, sessionNumber, number);
    expect(openedCount()).toBe(1);
    await turn();
    collectGarbage();
    expect(target.deref()).toBeUndefined();
    expect(stream.number).toBe(number);
  });
});

it('A dial goes to another session once a session has used the last number of a stream', async () => {
  const limits = { ...defaultLimits, maxStreamNumber: 2 };
  const { dialer, open, linked, links, say, openedCount, clock } = playedDialer({ limits });
  const [first, second] = [open(), open()];
  await linked(1);
  await say(FrameType.welcome, welcome, 0);
  for (const { number } of [first, second]) {
    await say(FrameType.opened, opened, sessionNumber, number);
  }
  const third = open();
  await clock.advance(50);
  expect(links).toHaveLength(2);
  await say(FrameType.welcome, welcome, 0);
  expect((await links[1]!.next(FrameType.open)).stream).toBe(1);
  await say(FrameType.opened, opened, sessionNumber, 1);
  expect([first.number, second.number, third.number]).toEqual([1, 2, 1]);
  expect([openedCount(), dialer.streamCount, dialer.sessionCount]).toEqual([3, 3, 2]);
});

describe('A dial that has failed', () => {
  it('A dial that has failed leaves nothing of its cluster, because clients may make up names', async () => {
    const { dialer, open, linked, ends, clock } = playedDialer();
    for (const cluster of ['a', 'b', 'c']) {
      open({ cluster });
      const { link } = await linked(ends.length + 1);
      expect(dialer.clusterCount).toBe(1);
      link.close(new TunnelError('no_agent', `no agent of cluster ${cluster} is connected`));
      await clock.advance(0);
    }
    expect(ends).toEqual(['no_agent', 'no_agent', 'no_agent']);
    expect([dialer.sessionCount, dialer.clusterCount]).toEqual([0, 0]);
  });
});

describe('A dial with a signal', () => {
  it('A dial is reset at the agent when its signal aborts, and ends with the reason as the cause', async () => {
    const { open, linked, links, say, clock, ends, errors } = playedDialer();
    const controller = new AbortController();
    open({ signal: controller.signal });
    await linked(1);
    await say(FrameType.welcome, welcome, 0);
    const reason = new Error('the user went away');
    controller.abort(reason);
    await clock.advance(0);
    expect(ends).toEqual(['cancelled']);
    expect(errors[0]!.cause).toBe(reason);
    const reset = await links[0]!.next(FrameType.reset);
    expect(decodeFailure(FrameType.reset, reset.payload).code).toBe('cancelled');
    expect(clock.pendingTimers).toBe(0);
  });

  it('A dial is not cancelled by an abort after it was opened', async () => {
    const { open, linked, say, clock, ends, openedCount } = playedDialer();
    const controller = new AbortController();
    open({ signal: controller.signal });
    await linked(1);
    await say(FrameType.welcome, welcome, 0);
    await say(FrameType.opened, opened, sessionNumber, 1);
    controller.abort();
    await clock.advance(0);
    expect([openedCount(), ends]).toEqual([1, []]);
  });

  it('A dial ends without an OPEN if its signal is aborted already', async () => {
    const { open, linked, links, say, clock, ends } = playedDialer();
    open({ signal: AbortSignal.abort() });
    await clock.advance(0);
    expect(ends).toEqual(['cancelled']);
    await linked(1);
    await say(FrameType.welcome, welcome, 0);
    expect(links[0]!.frames.map(({ type }) => type)).toEqual([FrameType.hello]);
  });
});

it('A dialer sends caller, trace and time limit of a stream to the agent', async () => {
  const { open, linked, links, say } = playedDialer();
  const caller = { user: 'alice', groups: ['developers'] };
  const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  open({ caller, trace, timeoutMs: 1_234 });
  await linked(1);
  await say(FrameType.welcome, welcome, 0);
  const { payload } = await links[0]!.next(FrameType.open);
  expect(decodeOpen(payload)).toMatchObject({ caller, trace, timeoutMs: 1_234 });
});

describe('A dialer that drains', () => {
  it('A dialer that drains refuses new streams with draining and lets an open stream continue', async () => {
    const { dialer, open, ends, clock } = await withStream();
    const drained = dialer.drain(new AbortController().signal);
    open();
    await clock.advance(0);
    expect(ends).toEqual(['draining']);
    dialer.close();
    await drained;
  });
});
