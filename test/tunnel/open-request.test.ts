import { describe, expect, it } from 'vitest';
import { decodeControlMap } from '../../src/tunnel/control-map.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { decodeFailure, encodeMessage } from '../../src/tunnel/message.ts';
import { encodeOpen } from '../../src/tunnel/open-message.ts';
import { callerLimits } from '../../src/tunnel/stream-request.ts';
import { linkedSessions, sampleTarget } from '../../testkit/link/linked-sessions.ts';
import { ScriptedSession } from '../../testkit/stream/scripted-session.ts';

const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const caller = { user: 'system:serviceaccount:ci:deployer', groups: ['system:serviceaccounts'] };

/** The fields of OPEN in the version before `caller` and `trace`, as its decoder read them. */
const fieldsBefore = ['kind', 'host', 'port', 'window', 'timeoutMs', 'stop'];

describe('The request of a stream', () => {
  it('The acceptor of a stream learns the caller and the trace from OPEN', async () => {
    const sessions = linkedSessions();
    const opened = sessions.open(sampleTarget, 5_000, { caller, trace });
    await sessions.clock.runUntilIdle();
    expect(sessions.accepted.get(opened.stream.number)!.request).toMatchObject({
      target: sampleTarget,
      timeoutMs: 5_000,
      caller,
      trace,
    });
  });

  it('The acceptor of a stream without caller and trace learns of neither', async () => {
    const sessions = linkedSessions();
    const opened = sessions.open();
    await sessions.clock.runUntilIdle();
    const { request } = sessions.accepted.get(opened.stream.number)!;
    expect([request.caller, request.trace]).toEqual([undefined, undefined]);
  });

  it('The opener sends caller and trace again where OPEN was lost with a link', async () => {
    const sessions = linkedSessions({ resumes: true, latencyMs: () => 20 });
    const opened = sessions.open(sampleTarget, 0, { caller, trace });
    await sessions.clock.advance(5);
    sessions.dialer.link.cut();
    await sessions.clock.runUntilIdle();
    expect(sessions.accepted.size).toBe(0);
    sessions.relink();
    await sessions.clock.runUntilIdle();
    expect(sessions.accepted.get(opened.stream.number)!.request).toMatchObject({ caller, trace });
  });

  it('The opener sends no trace that is not a valid traceparent', async () => {
    const sessions = linkedSessions();
    const opened = sessions.open(sampleTarget, 0, { caller, trace: trace.toUpperCase() });
    await sessions.clock.runUntilIdle();
    const { request } = sessions.accepted.get(opened.stream.number)!;
    expect(request).toMatchObject({ caller });
    expect(request.trace).toBeUndefined();
    expect(opened.events).toEqual(['opened']);
  });

  it('A stream whose caller exceeds the limits ends before OPEN is sent', async () => {
    const sessions = linkedSessions();
    const groups = Array<string>(callerLimits.maxGroups + 1).fill('g');
    const opened = sessions.open(sampleTarget, 0, { caller: { user: 'u', groups } });
    await sessions.clock.runUntilIdle();
    expect(opened.ending).toBe('dial_failed');
    expect(sessions.dialer.link.sent).toEqual([]);
    expect(sessions.dialer.session.streamCount).toBe(0);
  });

  it('An acceptor refuses an unknown kind of target and continues the session', () => {
    const session = new ScriptedSession('agent');
    const udp = { kind: 'udp', host: 'dns', port: 53, window: 1000, timeoutMs: 0 };
    session.receive(FrameType.open, 1, encodeMessage(udp));
    const [answer, ...more] = session.sent();
    expect(answer).toMatchObject({ type: FrameType.refused, stream: 1 });
    expect(decodeFailure(FrameType.refused, answer!.payload).code).toBe('unsupported_target');
    expect(more).toEqual([]);
    expect(session.broken).toEqual([]);
    session.receiveOpen(2);
    expect(session.sent()).toMatchObject([{ type: FrameType.opened, stream: 2 }]);
  });

  it('An opener learns that its kind of target is not supported', () => {
    const session = new ScriptedSession('dialer');
    const stream = session.dialUnanswered();
    const refusal = { code: 'unsupported_target', message: 'no' };
    session.receive(FrameType.refused, stream.stream.number, encodeMessage(refusal));
    expect(session.broken).toEqual([]);
    expect(stream.stream).toMatchObject({ failure: { code: 'unsupported_target' } });
  });
});

describe('version skew of OPEN', () => {
  const longest = {
    user: 'u'.repeat(callerLimits.maxNameLength),
    groups: Array<string>(callerLimits.maxGroups - 1).fill('ü'.repeat(28)),
  };
  const open = { target: sampleTarget, window: 1000, timeoutMs: 2000, stop: true } as const;
  const read = (payload: Uint8Array) => {
    const fields = decodeControlMap(FrameType.open, payload);
    return fieldsBefore.map((name) => fields.get(name));
  };

  it.each([
    ['a caller and a trace', caller],
    ['the largest caller', longest],
  ])('A peer of the previous version ignores %s in OPEN', (_, from) => {
    const payload = encodeOpen({ ...open, caller: from, trace });
    expect(read(payload)).toEqual(read(encodeOpen(open)));
    expect(read(payload)).toEqual(['tcp', 'kube', 6443, 1000, 2000, true]);
  });

  it('An OPEN of the previous version has no caller and no trace', () => {
    const session = new ScriptedSession('agent');
    const fields = { kind: 'tcp', host: 'kube', port: 6443, window: 1000, timeoutMs: 0 };
    session.receive(FrameType.open, 1, encodeMessage(fields));
    expect(session.streams.get(1)).toMatchObject({
      request: { target: sampleTarget, timeoutMs: 0 },
    });
    expect(session.sent()).toMatchObject([{ type: FrameType.opened }]);
  });
});
