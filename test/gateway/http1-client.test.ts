import { describe, expect, it } from 'vitest';
import type { ClientEvents } from '../../src/gateway/node/client-side.ts';
import { type Http1Carrier, Http1Client } from '../../src/gateway/node/http1-client.ts';
import { parseRequestHead } from '../../src/http1/request-head.ts';

/** The client's side of a request with a body, and what its request gets of it. */
function requestWithBody() {
  const pieces: string[] = [];
  const events: ClientEvents = {
    onBody: (bytes) => pieces.push(Buffer.from(bytes).toString()),
    onBodyEnd: () => pieces.push('END'),
    onBodyInvalid() {},
    onDrain() {},
    onClientClosed() {},
  };
  const carrier = { pause() {}, resume() {} } as unknown as Http1Carrier;
  const head = parseRequestHead('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked');
  return { client: new Http1Client(carrier, head, events), pieces };
}

describe('The body of a request over HTTP/1.1', () => {
  it('The rest of a body is dropped once the request has ended', () => {
    const { client, pieces } = requestWithBody();
    client.readBody();
    client.onBody(Buffer.from('a'));
    client.onClosed(true);
    client.onBody(Buffer.from('b'));
    expect(pieces).toEqual(['a']);
  });

  it('Small pieces that come before the request is admitted are kept as one', () => {
    const { client, pieces } = requestWithBody();
    const borrowed = Buffer.alloc(1);
    for (let at = 0; at < 10_000; at++) {
      borrowed[0] = 97 + (at % 26);
      client.onBody(borrowed);
    }
    client.onBodyComplete();
    expect(pieces).toEqual([]);
    client.readBody();
    const [body = '', ...rest] = pieces;
    expect(body).toHaveLength(10_000);
    expect(body.startsWith('abcdefghijklmnopqrstuvwxyzabc')).toBe(true);
    expect(rest).toEqual(['END']);
  });
});
