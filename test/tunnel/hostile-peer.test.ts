import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { encodeMessage } from '../../src/tunnel/message.ts';
import { ScriptedSession, offsets } from '../../testkit/stream/scripted-session.ts';

const windowBytes = 256 * 1024;
const garbage = Uint8Array.of(0xc1);

/** An agent's session with two streams that are open. */
function agentWithTwo(): ScriptedSession {
  const scripted = new ScriptedSession('agent');
  for (const number of [1, 2]) scripted.receiveOpen(number);
  scripted.sent();
  return scripted;
}

/** The fate of stream 1, and of stream 2 beside it. */
async function aftermath(scripted: ScriptedSession): Promise<object> {
  const endings = scripted.sentEndings();
  await scripted.clock.advance(0);
  const [first, second] = [scripted.streams.get(1)!, scripted.streams.get(2)!];
  const before = second.receivedBytes;
  scripted.receiveData(2, 100);
  // Frames that were on their way when the stream ended are dropped without an answer.
  scripted.receiveData(1, 100);
  scripted.receive(FrameType.fin, 1, offsets(0));
  scripted.receive(FrameType.credit, 1, offsets(0, 0));
  scripted.receive(FrameType.reset, 1, garbage);
  return {
    endings,
    first: first.ending,
    second: second.ending,
    secondGoesOn: second.receivedBytes === before + 100,
    streams: scripted.session.streamCount,
    laterFrames: scripted.sent(),
    log: scripted.log.lines.map(({ fields }) => [fields?.['stream'], fields?.['code']]),
  };
}

/** Expects that stream 1 was reset with `code`, stream 2 still works, and one line is logged. */
function onlyFirstEnds(code: string): object {
  return {
    endings: [[1, code]],
    first: code,
    second: undefined,
    secondGoesOn: true,
    streams: 1,
    laterFrames: [],
    log: [[1, code]],
  };
}

describe('A peer that sends beyond its credit', () => {
  it('A peer may use the window to the last byte', () => {
    const scripted = agentWithTwo();
    scripted.streams.get(1)!.stopReading();
    scripted.receiveData(1, windowBytes - 1);
    scripted.receiveData(1, 1);
    expect(scripted.streams.get(1)!.receivedBytes).toBe(windowBytes);
    expect(scripted.sentEndings()).toEqual([]);
  });

  it('A peer that exceeds its window by a byte loses the stream with window_exceeded, and the byte is not delivered', async () => {
    const scripted = agentWithTwo();
    scripted.streams.get(1)!.stopReading();
    scripted.receiveData(1, windowBytes);
    scripted.receiveData(1, 1);
    expect(scripted.streams.get(1)!.receivedBytes).toBe(windowBytes);
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('window_exceeded'));
    expect(scripted.streams.get(1)!.closes[0]?.message).toBe(
      'stream 1 sent 1 bytes with 0 of credit left',
    );
  });

  it('A peer loses the stream at the first piece that exceeds the window', async () => {
    const scripted = agentWithTwo();
    scripted.receiveData(1, windowBytes + 1);
    expect(scripted.streams.get(1)!.receivedBytes).toBe(0);
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('window_exceeded'));
  });

  it('A peer gets as much new credit as the reader took, and no more', async () => {
    const scripted = agentWithTwo();
    const stream = scripted.streams.get(1)!;
    stream.stopReading();
    scripted.receiveData(1, windowBytes);
    stream.take(100_000);
    scripted.sent();
    scripted.receiveData(1, 100_000);
    expect(scripted.sentEndings()).toEqual([]);
    scripted.receiveData(1, 1);
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('window_exceeded'));
  });
});

describe('A peer that breaks the order of a stream', () => {
  it('A peer that sends data after its FIN loses the stream', async () => {
    const scripted = agentWithTwo();
    scripted.receive(FrameType.fin, 1, offsets(0));
    scripted.sent();
    scripted.receiveData(1, 1);
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('protocol_error'));
  });

  it.each([0, 9, 11])('A peer loses a stream whose FIN says %i after 10 bytes', async (offset) => {
    const scripted = agentWithTwo();
    scripted.receiveData(1, 10);
    scripted.receive(FrameType.fin, 1, offsets(offset));
    expect(scripted.streams.get(1)!.events).toEqual([]);
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('protocol_error'));
  });

  it.each([
    ['data', (scripted: ScriptedSession) => scripted.receiveData(1, 1)],
    ['FIN', (scripted: ScriptedSession) => scripted.receive(FrameType.fin, 1, offsets(0))],
  ])('A peer that sends %s before OPENED loses the stream at the agent', async (_, send) => {
    const scripted = new ScriptedSession('agent', {}, (stream) => {
      if (stream.stream.number === 2) stream.accept();
    });
    for (const number of [1, 2]) scripted.receiveOpen(number);
    scripted.sent();
    send(scripted);
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('protocol_error'));
  });

  it.each([
    ['data', (scripted: ScriptedSession) => scripted.receiveData(1, 1)],
    ['FIN', (scripted: ScriptedSession) => scripted.receive(FrameType.fin, 1, offsets(0))],
  ])('A peer that sends %s before OPENED loses the stream at the dialer', async (_, send) => {
    const scripted = new ScriptedSession('dialer');
    scripted.dialUnanswered();
    scripted.dial();
    send(scripted);
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('protocol_error'));
  });

  it('A peer changes nothing with a second OPENED or a second FIN', async () => {
    const scripted = new ScriptedSession('dialer');
    const stream = scripted.dial(1000);
    scripted.receive(FrameType.opened, 1, { window: 9000 });
    stream.write(5000);
    expect(scripted.sent().map(({ payload }) => payload.length)).toEqual([1000]);
    scripted.receive(FrameType.fin, 1, offsets(0));
    scripted.receive(FrameType.fin, 1, offsets(0));
    expect(stream.events).toEqual(['opened', 'fin']);
    expect(scripted.log.lines).toEqual([]);
  });
});

describe('A peer that acknowledges what was never sent', () => {
  it('A peer that acknowledges unsent bytes loses the stream', async () => {
    const scripted = agentWithTwo();
    scripted.streams.get(1)!.write(10);
    scripted.sent();
    scripted.receive(FrameType.credit, 1, offsets(10, windowBytes));
    expect(scripted.sentEndings()).toEqual([]);
    scripted.receive(FrameType.credit, 1, offsets(11, windowBytes));
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('protocol_error'));
  });

  it('A peer that acknowledges an unsent FIN loses the stream', async () => {
    const scripted = agentWithTwo();
    scripted.receive(FrameType.fin, 1, offsets(0));
    scripted.sent();
    scripted.receive(FrameType.credit, 1, offsets(1, windowBytes));
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('protocol_error'));
  });
});

describe('A peer that grants credit', () => {
  it('A peer cannot take credit back', () => {
    const scripted = new ScriptedSession('dialer');
    const stream = scripted.dial(1000);
    scripted.receive(FrameType.credit, 1, offsets(0, 10));
    stream.write(5000);
    expect(scripted.sent().map(({ payload }) => payload.length)).toEqual([1000]);
  });

  it('A peer that grants without end and acknowledges nothing makes this end keep one largest window', () => {
    const maxWindowBytes = 512 * 1024;
    const scripted = new ScriptedSession('dialer', { maxWindowBytes });
    const stream = scripted.dial(0xffff_ffff);
    scripted.receive(FrameType.credit, 1, offsets(0, Number.MAX_SAFE_INTEGER));
    stream.send({ bytes: 10 * 1024 * 1024 });
    const sentBytes = scripted.sent().reduce((sum, { payload }) => sum + payload.length, 0);
    expect(sentBytes).toBe(maxWindowBytes);
    scripted.receive(FrameType.credit, 1, offsets(100_000, Number.MAX_SAFE_INTEGER));
    expect(scripted.sent().reduce((sum, { payload }) => sum + payload.length, 0)).toBe(100_000);
  });

  it.each(['in OPEN', 'in CREDIT'])(
    'A peer that grants on many streams (%s) makes this end keep at most two session budgets and a smallest window per stream',
    (where) => {
      const limits = { maxWindowBytes: 512 * 1024, sessionBudgetBytes: 1024 * 1024 };
      const scripted = new ScriptedSession('agent', limits);
      let sentBytes = 0;
      for (let number = 1; number <= 100; number++) {
        const stream = scripted.receiveOpen(number, where === 'in OPEN' ? 0xffff_ffff : 0);
        scripted.receive(FrameType.credit, number, offsets(0, Number.MAX_SAFE_INTEGER));
        stream.send({ bytes: 1024 * 1024 });
        for (const { type, payload } of scripted.sent()) {
          if (type === FrameType.data) sentBytes += payload.length;
        }
      }
      expect(sentBytes).toBe(2 * 1024 * 1024 + 96 * 16 * 1024);
    },
  );

  it('The session counts the grants of a peer again after an acknowledgement and after the end of a stream', () => {
    const limits = { maxWindowBytes: 512 * 1024, sessionBudgetBytes: 256 * 1024 };
    const scripted = new ScriptedSession('agent', limits);
    const sentBy = (number: number) => {
      scripted.receiveOpen(number, 0xffff_ffff).send({ bytes: 600 * 1024 });
      const data = scripted.sent().filter(({ type }) => type === FrameType.data);
      return data.reduce((sum, { payload }) => sum + payload.length, 0) / 1024;
    };
    expect(sentBy(1)).toBe(512);
    expect(sentBy(2)).toBe(16);
    scripted.receive(FrameType.reset, 1, { code: 'reset', message: 'done' });
    expect(sentBy(3)).toBe(496);
    scripted.receive(FrameType.credit, 3, offsets(496 * 1024, 496 * 1024));
    expect(sentBy(4)).toBe(496);
  });

  it('A peer that grants more than a largest window in OPEN gets one largest window', () => {
    const scripted = new ScriptedSession('agent', { maxWindowBytes: 512 * 1024 });
    scripted.receiveOpen(1, 0xffff_ffff).send({ bytes: 10 * 1024 * 1024 });
    const data = scripted.sent().filter(({ type }) => type === FrameType.data);
    expect(data.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(512 * 1024);
  });
});

describe('A frame for an unknown stream', () => {
  it.each([
    ['data', FrameType.data, Uint8Array.of(1)],
    ['credit', FrameType.credit, offsets(0, 0)],
    ['fin', FrameType.fin, offsets(0)],
    ['opened', FrameType.opened, encodeMessage({ window: 1 })],
    ['refused', FrameType.refused, garbage],
  ] as const)(
    'A frame for an unknown stream is answered with unknown_stream once: %s',
    (_, type, payload) => {
      const scripted = agentWithTwo();
      for (let turn = 0; turn < 16; turn++) scripted.receive(type, 7, payload);
      expect(scripted.sentEndings()).toEqual([[7, 'unknown_stream']]);
      expect(scripted.log.lines).toMatchObject([{ fields: { stream: 7 } }]);
      expect(scripted.session.streamCount).toBe(2);
    },
  );

  it('A frame for an unknown stream is answered by the dialer as well', () => {
    const scripted = new ScriptedSession('dialer');
    scripted.dial();
    scripted.receiveData(2, 1);
    expect(scripted.sentEndings()).toEqual([[2, 'unknown_stream']]);
    // The number is still free for a new stream.
    const second = scripted.dial();
    scripted.receiveData(2, 5);
    expect(second.receivedBytes).toBe(5);
  });

  it('A RESET for an unknown stream is not answered, because two ends would answer each other for ever', () => {
    const scripted = agentWithTwo();
    scripted.receive(FrameType.reset, 7, encodeMessage({ code: 'reset', message: '' }));
    expect(scripted.sent()).toEqual([]);
    expect(scripted.log.lines).toEqual([]);
  });
});

describe('OPEN from a hostile peer', () => {
  it.each([
    ['that was used and has ended', 1],
    ['below one that was used', 2],
    ['zero', 0],
  ])('OPEN with a stream number %s is refused as a protocol error', async (_, number) => {
    const scripted = new ScriptedSession('agent');
    scripted.receiveOpen(1);
    scripted.receiveOpen(3);
    scripted.receive(FrameType.reset, 1, encodeMessage({ code: 'reset', message: '' }));
    scripted.sent();
    scripted.receiveOpen(number);
    expect(scripted.sentEndings()).toEqual([[number, 'protocol_error']]);
    expect(scripted.log.lines).toMatchObject([
      { fields: { stream: number, code: 'protocol_error' } },
    ]);
    expect(scripted.session.streamCount).toBe(1);
  });

  it('OPEN that is repeated for a live stream changes nothing', () => {
    const scripted = agentWithTwo();
    const first = scripted.streams.get(1);
    scripted.receiveOpen(1);
    expect(scripted.streams.get(1)).toBe(first);
    expect(scripted.sent()).toEqual([]);
    expect(scripted.log.lines).toEqual([]);
  });

  it('OPEN beyond the stream limit is refused with stream_limit until a stream has ended', () => {
    const scripted = new ScriptedSession('agent', { maxStreams: 2 });
    for (const number of [1, 2, 3]) scripted.receiveOpen(number);
    expect(scripted.sentEndings()).toEqual([[3, 'stream_limit']]);
    expect(scripted.session.streamCount).toBe(2);
    scripted.receive(FrameType.reset, 1, encodeMessage({ code: 'reset', message: '' }));
    scripted.receiveOpen(4);
    expect(scripted.sentEndings()).toEqual([]);
    expect(scripted.streams.has(4)).toBe(true);
  });

  it('OPEN that is malformed is answered once, and its stream number is used up', () => {
    const scripted = agentWithTwo();
    scripted.receive(FrameType.open, 3, garbage);
    scripted.receiveData(3, 1);
    scripted.receive(FrameType.fin, 3, offsets(1));
    expect(scripted.sentEndings()).toEqual([[3, 'protocol_error']]);
    expect(scripted.log.lines).toHaveLength(1);
    expect(scripted.session.streamCount).toBe(2);
  });

  it('OPEN is accepted by the agent only', () => {
    const scripted = new ScriptedSession('dialer');
    const stream = scripted.dial();
    scripted.receiveOpen(5);
    expect(scripted.sentEndings()).toEqual([[5, 'protocol_error']]);
    expect(stream.closes).toEqual([]);
  });
});

describe('A malformed payload', () => {
  const malformed: [string, FrameType, Uint8Array][] = [
    ['RESET', FrameType.reset, garbage],
    ['REFUSED', FrameType.refused, encodeMessage({ code: 'refused' })],
    ['CREDIT, short', FrameType.credit, new Uint8Array(15)],
    ['CREDIT, long', FrameType.credit, new Uint8Array(17)],
    ['CREDIT beyond 2^53', FrameType.credit, new Uint8Array(16).fill(255)],
    ['FIN, short', FrameType.fin, new Uint8Array(7)],
    ['FIN, long', FrameType.fin, new Uint8Array(9)],
    ['FIN beyond 2^53', FrameType.fin, new Uint8Array(8).fill(255)],
    ['OPENED, for the dialer only', FrameType.opened, encodeMessage({ window: 1 })],
  ];

  it.each(malformed)(
    'A malformed payload of %s ends its stream and no other',
    async (_, type, payload) => {
      const scripted = agentWithTwo();
      scripted.receive(type, 1, payload);
      expect(await aftermath(scripted)).toEqual(onlyFirstEnds('protocol_error'));
    },
  );

  it('A malformed payload of OPENED ends the dial', async () => {
    const scripted = new ScriptedSession('dialer');
    scripted.dialUnanswered();
    scripted.dial();
    scripted.receive(FrameType.opened, 1, encodeMessage({ window: -1 }));
    expect(await aftermath(scripted)).toEqual(onlyFirstEnds('protocol_error'));
    expect(scripted.streams.get(1)!.events).toEqual(['closed: protocol_error']);
  });

  it.each(['hello', 'welcome', 'attach', 'detach', 'goaway'] as const)(
    'A frame of type %s inside a session harms no stream',
    (name) => {
      const scripted = agentWithTwo();
      scripted.receive(FrameType[name], 0, encodeMessage({}));
      expect(scripted.log.lines).toMatchObject([{ fields: { code: 'protocol_error' } }]);
      expect(scripted.session.streamCount).toBe(2);
    },
  );
});

describe('PING inside a session', () => {
  it('PING is answered with the same bytes', () => {
    const scripted = agentWithTwo();
    const payload = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
    scripted.receive(FrameType.ping, 0, payload);
    payload.fill(0xee);
    expect(scripted.sent()).toEqual([
      { type: FrameType.pong, stream: 0, payload: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
    ]);
  });

  it('A flood of PINGs gets a bounded number of answers while nothing can be sent', () => {
    const scripted = agentWithTwo();
    for (let turn = 0; turn < 5000; turn++) scripted.receive(FrameType.ping, 0, new Uint8Array(8));
    expect(scripted.sent()).toHaveLength(1024);
  });

  it('A PONG without a PING is ignored', () => {
    const scripted = agentWithTwo();
    scripted.receive(FrameType.pong, 0, new Uint8Array(8));
    scripted.receive(FrameType.pong, 0, new Uint8Array(3));
    expect(scripted.sent()).toEqual([]);
    expect(scripted.session.roundTrip.ms).toBeUndefined();
  });
});

describe('A peer that causes answers and never reads them', () => {
  it('A peer that never reads has a bounded number of PONGs queued for it', () => {
    const scripted = agentWithTwo();
    for (let ask = 0; ask < 100_000; ask++) scripted.receive(FrameType.ping, 0, offsets(ask));
    expect(scripted.sent().length).toBeLessThanOrEqual(1024);
  });

  it('A peer that never reads has a bounded number of resets of unknown streams queued for it', () => {
    const scripted = new ScriptedSession('dialer');
    for (let number = 1; number < 100_000; number++) scripted.receiveData(number, 1);
    expect(scripted.sent().length).toBeLessThanOrEqual(1024);
  });

  it('A peer that never reads has a bounded number of refused streams queued for it', () => {
    let accepted = 0;
    const scripted = new ScriptedSession('agent', { maxStreams: 50 }, ({ stream }) => {
      accepted++;
      stream.reset(new TunnelError('forbidden_target', 'not on the list'));
    });
    for (let number = 1; number < 100_000; number++) scripted.receiveOpen(number);
    expect(accepted).toBe(50);
    expect(scripted.sent().length).toBeLessThanOrEqual(50 + 1024);
  });

  it.each([0, 7, 9, 60_000])('A peer gets no answer to a PING of %i bytes', (bytes) => {
    const scripted = agentWithTwo();
    scripted.receive(FrameType.ping, 0, new Uint8Array(bytes));
    expect(scripted.sentEndings()).toEqual([[0, 'protocol_error']]);
  });
});
