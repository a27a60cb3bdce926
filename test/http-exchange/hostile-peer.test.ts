import { describe, expect, it } from 'vitest';
import { encodeResponseHead, encodeTrailers } from '../../src/http-exchange/head-codec.ts';
import { LinkedExchanges } from '../../testkit/link/linked-exchanges.ts';

const record = (type: number, payload: Uint8Array): Uint8Array =>
  Uint8Array.from([type, payload.length >>> 16, payload.length >>> 8, payload.length, ...payload]);
const headOf = (status: number): Uint8Array =>
  record(1, encodeResponseHead({ status, headers: [] }));
const informational = record(4, encodeResponseHead({ status: 103, headers: [] }));
const body = record(2, Uint8Array.of(1, 2, 3));
const trailers = record(3, encodeTrailers([['a', 'b']]));
const ok = headOf(200);

/** Answers of an agent that break the protocol, and the part of the sentence that names it. */
const breaches: readonly (readonly [string, Uint8Array[], string])[] = [
  ['an unknown record', [ok, Uint8Array.of(5, 0, 0, 1, 9)], 'unknown type 5'],
  ['a record of type 0', [Uint8Array.of(0, 0, 0, 1, 9)], 'unknown type 0'],
  ['a head over the limit', [Uint8Array.of(1, 1, 0, 1)], 'at most 65536'],
  ['trailers over the limit', [ok, Uint8Array.of(3, 0xff, 0xff, 0xff)], 'at most 65536'],
  ['a head without content', [Uint8Array.of(1, 0, 0, 0)], 'without content'],
  ['a head that is none', [Uint8Array.of(1, 0, 0, 1, 7)], 'ends early'],
  ['two heads', [ok, ok], 'second head'],
  ['an informational head behind the head', [ok, informational], 'second head'],
  ['endless informational heads', Array<Uint8Array>(101).fill(informational), 'more than 100'],
  ['101 as informational', [record(4, headOf(101).subarray(4))], 'as informational'],
  ['a final status as informational', [record(4, headOf(204).subarray(4))], 'as informational'],
  ['an informational status as head', [headOf(103)], 'status 103'],
  ['the status 0', [headOf(0)], 'status 0'],
  ['the status 1000', [headOf(1000)], 'status 1000'],
  ['a body before the head', [body], 'body out of order'],
  ['trailers before the head', [trailers], 'trailers out of order'],
  ['a body behind trailers', [ok, trailers, body], 'body out of order'],
  ['trailers twice', [ok, trailers, trailers], 'trailers out of order'],
  ['101 that was not asked for', [headOf(101)], 'not requested'],
];

describe('An agent that breaks the protocol of exchanges', () => {
  it.each(breaches)('An answer with %s ends that exchange alone', async (_, pieces, sentence) => {
    const exchanges = new LinkedExchanges();
    const [recorded, { stream, events }] = await exchanges.opened();
    const [other, { exchange }] = await exchanges.opened();
    for (const piece of pieces) stream.write(piece);
    stream.fin();
    await exchanges.clock.runUntilIdle();
    expect(recorded.events.at(-1)).toBe('close: protocol_error');
    expect(recorded.events).not.toContain('end');
    expect(recorded.error?.message).toContain(sentence);
    expect(events.at(-1)).toBe('close: protocol_error');
    exchange.sendHead({ status: 200, headers: [] });
    exchange.end();
    await exchanges.clock.runUntilIdle();
    expect(other.events).toEqual(['head', 'end', 'close']);
    expect([exchanges.dialer.broken, exchanges.agent.broken]).toEqual([[], []]);
  });
});

describe('A dialer that breaks the protocol of exchanges', () => {
  it.each([
    ['a head', true, [ok]],
    ['an informational head', true, [informational]],
    ['an unknown record', true, [Uint8Array.of(9, 0, 0, 0)]],
    ['trailers twice', true, [trailers, trailers]],
    ['a body behind trailers', true, [trailers, body]],
    ['a body that was not announced', false, [body]],
    ['trailers that were not announced', false, [trailers]],
    ['an end inside a record', true, [body.subarray(0, 5)]],
  ])('A request with %s ends that exchange alone', async (_, hasBody, pieces) => {
    const exchanges = new LinkedExchanges({}, () => {});
    const recorded = exchanges.open({}, { hasBody });
    await exchanges.clock.runUntilIdle();
    const [answered] = exchanges.answered;
    const [stream] = exchanges.streams;
    for (const piece of pieces) stream!.write(piece);
    stream!.fin();
    answered!.stream.accept();
    await exchanges.clock.runUntilIdle();
    expect(answered!.events.at(-1)).toBe('close: protocol_error');
    expect(recorded.events).toEqual(['close: protocol_error']);
    expect([exchanges.dialer.broken, exchanges.agent.broken]).toEqual([[], []]);
  });
});
