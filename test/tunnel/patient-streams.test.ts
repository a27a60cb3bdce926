import { describe, expect, it } from 'vitest';
import { LinkedExchanges } from '../../testkit/link/linked-exchanges.ts';
import { linkedSessions, type LinkedSessions } from '../../testkit/link/linked-sessions.ts';

const patienceMs = 5;

/** Sessions whose streams are patient at both ends. */
function patientSessions(): LinkedSessions {
  return linkedSessions({ onAccept: (stream) => stream.accept(true), resumes: true });
}

const namesOf = (sent: readonly { readonly name: string }[]) => sent.map(({ name }) => name);

describe('A patient stream', () => {
  it('A patient stream is answered after 5 ms if its acceptor sends nothing', async () => {
    const sessions = patientSessions();
    const dialed = sessions.open(undefined, 0, { isPatient: true });
    await sessions.clock.advance(patienceMs - 1);
    expect(sessions.accepted.size).toBe(1);
    expect(dialed.events).toEqual([]);
    await sessions.clock.advance(1);
    expect(dialed.events).toEqual(['opened']);
  });

  it('A patient stream is answered together with the first bytes', async () => {
    const sessions = patientSessions();
    const dialed = sessions.open(undefined, 0, { isPatient: true });
    await sessions.clock.advance(1);
    sessions.accepted.get(dialed.stream.number)!.write(10);
    await sessions.clock.advance(1);
    expect(dialed).toMatchObject({ events: ['opened'], receivedBytes: 10 });
    expect(namesOf(sessions.agent.link.sent)).toEqual(['OPENED', 'DATA']);
  });

  it('A frame that may wait does so for 5 ms, also if an earlier one has left with other frames', async () => {
    const sessions = patientSessions();
    const first = sessions.open(undefined, 0, { isPatient: true });
    await sessions.clock.advance(1);
    sessions.accepted.get(first.stream.number)!.write(10);
    await sessions.clock.advance(2);
    const second = sessions.open(undefined, 0, { isPatient: true });
    await sessions.clock.advance(patienceMs - 1);
    expect(second.events).toEqual([]);
    await sessions.clock.advance(1);
    expect(second.events).toEqual(['opened']);
  });

  it('A patient stream sends its RESET at once, although OPENED waits', async () => {
    const sessions = patientSessions();
    const dialed = sessions.open(undefined, 0, { isPatient: true });
    await sessions.clock.advance(1);
    sessions.accepted.get(dialed.stream.number)!.reset('target_reset');
    await sessions.clock.advance(0);
    expect(dialed.events).toEqual(['closed: target_reset']);
  });

  it('A patient stream gives credit for bytes at once', async () => {
    const sessions = patientSessions();
    const dialed = sessions.open(undefined, 0, { isPatient: true });
    await sessions.clock.advance(patienceMs);
    const accepted = sessions.accepted.get(dialed.stream.number)!;
    // The first CREDIT leaves together with a PING.
    accepted.write(200 * 1024);
    await sessions.clock.advance(2 * patienceMs);
    const { sent } = sessions.dialer.link;
    const before = sent.length;
    accepted.write(200 * 1024);
    await sessions.clock.advance(0);
    expect(namesOf(sent.slice(before))).toContain('CREDIT');
  });

  it("A patient stream's acceptor sends its FIN at once, because the opener waits for the end", async () => {
    const sessions = patientSessions();
    const dialed = sessions.open(undefined, 0, { isPatient: true });
    await sessions.clock.advance(patienceMs);
    sessions.accepted.get(dialed.stream.number)!.fin();
    await sessions.clock.advance(0);
    expect(dialed.events).toEqual(['opened', 'fin']);
  });

  it('A patient stream whose link is lost while OPENED waits is answered on the next link', async () => {
    const sessions = patientSessions();
    const dialed = sessions.open(undefined, 0, { isPatient: true });
    await sessions.clock.advance(1);
    sessions.dialer.link.cut();
    await sessions.clock.advance(1000);
    sessions.relink();
    await sessions.clock.runUntilIdle();
    expect(dialed.events).toEqual(['opened']);
  });

  it('Patient streams of one session end in order within 5 ms after both ends have finished', async () => {
    const sessions = patientSessions();
    const dialed = Array.from({ length: 20 }, () =>
      sessions.open(undefined, 0, { isPatient: true }),
    );
    await sessions.clock.advance(patienceMs);
    for (const stream of [...dialed, ...sessions.accepted.values()]) stream.fin();
    await sessions.clock.advance(2 * patienceMs);
    expect(sessions.dialer.session.streamCount).toBe(0);
    expect(sessions.agent.session.streamCount).toBe(0);
    expect(dialed.every(({ ending }) => ending === 'ok')).toBe(true);
  });
});

describe('A stream that is not patient', () => {
  it('The last CREDIT of the opener waits for other frames, and every other frame is sent at once', async () => {
    const sessions = linkedSessions();
    const [dialed, accepted] = await sessions.opened();
    const { sent } = sessions.dialer.link;
    dialed.fin();
    await sessions.clock.advance(0);
    accepted.fin();
    await sessions.clock.advance(patienceMs - 1);
    expect(namesOf(sent)).toEqual(['OPEN', 'FIN']);
    expect(namesOf(sessions.agent.link.sent)).toEqual(['OPENED', 'CREDIT', 'FIN']);
    await sessions.clock.advance(1);
    expect(namesOf(sent)).toEqual(['OPEN', 'FIN', 'CREDIT']);
    expect([dialed.ending, accepted.ending]).toEqual(['ok', 'ok']);
  });

  it("The opener's CREDIT for a FIN is sent at once while its own direction is open", async () => {
    const sessions = linkedSessions();
    const [, accepted] = await sessions.opened();
    accepted.fin();
    await sessions.clock.advance(0);
    expect(namesOf(sessions.dialer.link.sent)).toEqual(['OPEN', 'CREDIT']);
  });
});

describe('A GET through a session', () => {
  it('GETs that follow one another cost one message in each direction', async () => {
    const exchanges = new LinkedExchanges({}, ({ stream, exchange }) => {
      stream.isPatient = true;
      stream.accept();
      exchanges.clock.setTimer(1, () => {
        exchange.sendHead({ status: 200, headers: [] });
        exchange.write(Buffer.from('hello'));
        exchange.end();
      });
    });
    const { clock, dialer, agent } = exchanges;
    for (let request = 0; request < 10; request++) {
      const recorded = exchanges.open();
      await clock.advance(1);
      expect(recorded.body).toBe('hello');
    }
    // A message has the frames of one turn, in which time does not pass.
    const turns = (sent: readonly { readonly atMs: number }[]) =>
      new Set(sent.map(({ atMs }) => atMs)).size;
    expect(turns(dialer.link.sent)).toBe(10);
    expect(turns(agent.link.sent)).toBe(10);
  });

  it('A GET that its acceptor answers late is opened after 5 ms', async () => {
    const exchanges = new LinkedExchanges({}, ({ stream }) => {
      stream.isPatient = true;
      stream.accept();
    });
    exchanges.open();
    await exchanges.clock.advance(patienceMs);
    expect(namesOf(exchanges.agent.link.sent)).toContain('OPENED');
  });
});
