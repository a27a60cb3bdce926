import { describe, expect, it } from 'vitest';
import { encodeHeaders } from '../../src/http2/hpack-encoder.ts';
import { data, frameFlags, frameTypes, headers, reset } from '../../testkit/http2/frames.ts';
import { plainField, requestHead } from '../../testkit/http2/hpack-bytes.ts';
import {
  ScriptedConnection,
  type ScriptedRequest,
} from '../../testkit/http2/scripted-connection.ts';

const { endStream } = frameFlags;
const refusal = encodeHeaders([{ name: ':status', value: '403' }]);
const lingerMs = 2_000;
const windowBytes = 65_535;
const [noError, protocolError, flowControlError] = [0x0, 0x1, 0x3];

const post = (...more: readonly Buffer[]): Buffer => requestHead('POST', '/a', ...more);

function connected(answeredLingerMs = lingerMs): ScriptedConnection {
  return ScriptedConnection.ready({ limits: { answeredLingerMs, maxStreams: 1, windowBytes } });
}

/** Answers a request on `stream` before its body is complete. The client has read the answer. */
function refused(scripted: ScriptedConnection, stream = 1, head = post()): ScriptedRequest {
  scripted.push(headers(stream, head, 0));
  const request = scripted.requests.at(-1)!;
  request.stream.answer(refusal);
  return request;
}

/** The streams that the client was told to end, with their codes. */
function resetsIn(scripted: ScriptedConnection): [stream: number, code: number][] {
  return scripted
    .read()
    .filter(({ type }) => type === frameTypes.reset)
    .map(({ stream, payload }) => [stream, payload.readUInt32BE()]);
}

describe('An answer that comes before the body of its request is complete', () => {
  it('The answer ends its stream with RST_STREAM at once where no time is given', () => {
    const scripted = connected(0);
    const request = refused(scripted);
    expect(resetsIn(scripted)).toEqual([[1, noError]]);
    expect(request.isComplete).toBe(true);
    expect(scripted.clock.pendingTimers).toBe(0);
  });

  it('A client that goes on sees no reset, and its request is over with the answer', () => {
    const scripted = connected();
    const request = refused(scripted);
    expect(resetsIn(scripted)).toEqual([]);
    expect([request.events.at(-1), request.isComplete]).toEqual(['close', true]);
    scripted.push(data(1, Buffer.alloc(100)), data(1, Buffer.alloc(100), endStream));
    expect(resetsIn(scripted)).toEqual([]);
    expect(request.receivedBytes).toBe(0);
    expect(scripted.clock.pendingTimers).toBe(0);
    // The place of the stream is free.
    refused(scripted, 3);
    expect(scripted.requests).toHaveLength(2);
  });

  it('A client that does not end its body gets RST_STREAM after its time', () => {
    const scripted = ScriptedConnection.ready({ limits: { answeredLingerMs: lingerMs } });
    refused(scripted);
    expect(resetsIn(scripted)).toEqual([]);
    scripted.clock.advanceSync(lingerMs / 2);
    refused(scripted, 3);
    expect(resetsIn(scripted)).toEqual([]);
    scripted.clock.advanceSync(lingerMs / 2);
    expect(resetsIn(scripted)).toEqual([[1, noError]]);
    scripted.clock.advanceSync(lingerMs / 2);
    expect(resetsIn(scripted)).toEqual([[3, noError]]);
    expect(scripted.clock.pendingTimers).toBe(0);
    // The rest of the body may be on its way.
    scripted.push(data(1, Buffer.alloc(100), endStream));
    expect([resetsIn(scripted), scripted.failed]).toEqual([[], undefined]);
  });

  it('A stream in its time counts against the limit of streams', () => {
    const scripted = connected();
    refused(scripted);
    scripted.read();
    scripted.push(headers(3, post(), endStream));
    expect(scripted.requests).toHaveLength(1);
    scripted.clock.advanceSync(lingerMs);
    scripted.push(headers(5, post(), endStream));
    expect(scripted.requests).toHaveLength(2);
  });

  it('The rest of a body gets no more window, and a client that exceeds it is reset', () => {
    const scripted = connected();
    refused(scripted);
    scripted.read();
    const piece = Buffer.alloc(16 * 1024);
    for (let sentBytes = 0; sentBytes + piece.length <= windowBytes; sentBytes += piece.length) {
      scripted.push(data(1, piece));
    }
    const updates = scripted.read().filter(({ type }) => type === frameTypes.windowUpdate);
    expect(updates.filter(({ stream }) => stream === 1)).toEqual([]);
    scripted.push(data(1, piece));
    expect(resetsIn(scripted)).toEqual([[1, flowControlError]]);
    expect([scripted.clock.pendingTimers, scripted.failed]).toEqual([0, undefined]);
  });

  it('A body that becomes longer than announced is reset', () => {
    const scripted = connected();
    refused(scripted, 1, post(plainField('content-length', '5')));
    scripted.read();
    scripted.push(data(1, Buffer.alloc(6)));
    expect(resetsIn(scripted)).toEqual([[1, protocolError]]);
    expect(scripted.clock.pendingTimers).toBe(0);
  });

  it('A reset by the client, and the end of the connection, end the time', () => {
    const scripted = connected();
    const { events } = refused(scripted);
    scripted.read();
    scripted.push(reset(1));
    expect(scripted.clock.pendingTimers).toBe(0);
    refused(scripted, 3);
    scripted.read();
    expect(scripted.clock.pendingTimers).toBe(1);
    scripted.connection.destroy();
    expect(scripted.clock.pendingTimers).toBe(0);
    expect(events.filter((event) => event.startsWith('close'))).toHaveLength(1);
  });

  it('A drain waits for the time of a stream', () => {
    const scripted = connected();
    refused(scripted);
    scripted.read();
    scripted.connection.shutdown();
    scripted.connection.finishShutdown();
    expect(scripted.isDrained).toBe(false);
    scripted.clock.advanceSync(lingerMs);
    expect(scripted.isDrained).toBe(true);
  });
});
