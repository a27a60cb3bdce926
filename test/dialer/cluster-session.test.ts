import { describe, expect, it } from 'vitest';
import { TunnelError, type TunnelErrorCode } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { defaultLimits } from '../../src/tunnel/limits.ts';
import { sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { agentHas, playedDialer, welcome, withStream } from './played-dialer.ts';

describe('A new session that its agent refuses', () => {
  const refuse = async (code: TunnelErrorCode) => {
    const played = playedDialer();
    played.open();
    await played.linked(1);
    await played.say(FrameType.welcome, welcome, 0);
    played.links[0]!.link.close(new TunnelError(code, 'no'));
    await played.clock.advance(0);
    return played;
  };

  it('A new session ends with overloaded and is not tried again if the agent has too many sessions', async () => {
    const { clock, ends, links, dialer } = await refuse('overloaded');
    expect(ends).toEqual(['overloaded']);
    await clock.advance(60_000);
    expect([links.length, dialer.sessionCount]).toEqual([1, 0]);
  });

  it('A session continues after overloaded on a link with answered streams, because there it means a backlog', async () => {
    const { clock, ends, links, linked, dialer } = await withStream();
    links[0]!.link.close(new TunnelError('overloaded', 'more than 64 MiB wait'));
    await linked(2);
    await clock.advance(1_000);
    expect(ends).toEqual([]);
    expect(dialer.sessionCount).toBe(1);
  });
});

describe('SYNC at a dialer', () => {
  it('SYNC replayed to a dialer ends its session with protocol_error, logged once, and no other session', async () => {
    const { clock, log, dialer, ends, links, linked, say } = await withStream();
    const others: (string | undefined)[] = [];
    const onClose = (error: TunnelError | undefined) => void others.push(error?.code);
    dialer.open(
      { cluster: 'c2', target: sampleTarget },
      { onData() {}, onFin() {}, onWritable() {}, onClose },
    );
    const elsewhere = await linked(2);
    await say(FrameType.welcome, welcome, 0);
    links[0]!.link.close(new TunnelError('link_lost', 'gone'));
    await linked(3);
    await say(FrameType.welcome, welcome, 0);
    await say(FrameType.sync, agentHas(300));
    expect(dialer.resumedCount).toBe(1);
    await say(FrameType.sync, agentHas(300));
    expect(ends).toEqual(['protocol_error']);
    expect(links[2]!.ended?.error).toMatchObject({ code: 'protocol_error' });
    expect(log.lines.filter(({ event }) => event === 'session broken by peer')).toHaveLength(1);
    await clock.advance(1_000);
    expect([others, elsewhere.ended, dialer.sessionCount]).toEqual([[], undefined, 1]);
  });
});

describe('A session whose agent is away while its own network is silent', () => {
  /** A broker has said that another agent is connected, and the next attempt gets no answer. */
  const unanswered = async () => {
    const played = await withStream();
    const { clock, links, linked } = played;
    links[0]!.link.close(new TunnelError('agent_lost', 'gone'));
    const second = await linked(2);
    second.link.close(new TunnelError('agent_lost', 'still away'));
    await linked(3);
    await clock.advance(6_000);
    return played;
  };

  it('A session whose network is silent waits longer for its agent, and continues when a broker answers', async () => {
    const { ends, links, say } = await unanswered();
    expect([ends, links.length]).toEqual([[], 3]);
    await say(FrameType.welcome, welcome, 0);
    await say(FrameType.sync, agentHas(300));
    expect(ends).toEqual([]);
  });

  it.each(['agent_lost', 'no_agent'] as const)(
    'A session whose network was silent ends when a broker answers %s after the time of its agent',
    async (code) => {
      const { clock, ends, errors, links } = await unanswered();
      links[2]!.link.close(new TunnelError(code, 'still away'));
      await clock.advance(0);
      expect(ends).toEqual(['agent_lost']);
      expect(errors[0]!.message).toMatch(/no way back to the agent within 6\d\d\d ms/);
    },
  );

  it('A session whose network stays silent ends after the time of a session without a link', async () => {
    const { clock, ends } = await unanswered();
    await clock.advance(defaultLimits.resumeGraceMs - 7_000);
    expect(ends).toEqual([]);
    await clock.advance(2_000);
    expect(ends).toEqual(['agent_lost']);
  });
});

describe('A session that continues over another link', () => {
  it("A session counts as resumed after the agent's SYNC, not when a broker has accepted it", async () => {
    const { clock, log, dialer, links, linked, say } = await withStream();
    links[0]!.link.close(new TunnelError('link_lost', 'gone'));
    await linked(2);
    await say(FrameType.welcome, welcome, 0);
    await clock.advance(700);
    expect(dialer.resumedCount).toBe(0);
    expect(log.lines.map(({ event }) => event)).not.toContain('session resumed');
    await say(FrameType.sync, agentHas(100));
    expect(dialer.resumedCount).toBe(1);
    expect(dialer.resentBytes).toBe(200);
    expect(dialer.resumeGapMs).toBeGreaterThan(700);
    expect(log.lines.at(-1)).toMatchObject({
      event: 'session resumed',
      fields: { resentBytes: 200 },
    });
  });

  it('The gap of a resumed session is measured from the first loss, even if the next link is lost before SYNC', async () => {
    const { clock, dialer, links, linked, say } = await withStream();
    links[0]!.link.close(new TunnelError('link_lost', 'gone'));
    await linked(2);
    await say(FrameType.welcome, welcome, 0);
    await clock.advance(5_000);
    links[1]!.link.close(new TunnelError('link_lost', 'gone'));
    await linked(3);
    await say(FrameType.welcome, welcome, 0);
    await say(FrameType.sync, agentHas(300));
    expect(dialer.resumedCount).toBe(1);
    expect(dialer.resumeGapMs).toBeGreaterThan(5_000);
    expect(dialer.resentBytes).toBe(0);
  });

  it('The metrics show how often sessions resumed, the gaps and the bytes that were sent again', async () => {
    const { clock, metrics, links, linked, say } = await withStream();
    links[0]!.link.close(new TunnelError('link_lost', 'gone'));
    await linked(2);
    await say(FrameType.welcome, welcome, 0);
    await clock.advance(3_000);
    await say(FrameType.sync, agentHas(100));
    const { text } = await metrics.render();
    const lines = text.split('\n').filter((line) => line.startsWith('culvert_session_'));
    expect(lines).toContain('culvert_session_resumes_total 1');
    expect(lines).toContain('culvert_session_resent_bytes_total 200');
    expect(lines).toContain('culvert_session_resume_gap_seconds_bucket{le="2.5"} 0');
    expect(lines).toContain('culvert_session_resume_gap_seconds_bucket{le="5"} 1');
    expect(lines).toContain('culvert_session_resume_gap_seconds_count 1');
  });
});
