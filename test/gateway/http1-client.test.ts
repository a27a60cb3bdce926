import { expect, it } from 'vitest';
import type { ClientEvents } from '../../src/gateway/node/client-side.ts';
import { type Http1Carrier, Http1Client } from '../../src/gateway/node/http1-client.ts';
import { parseRequestHead } from '../../src/http1/request-head.ts';

it('The rest of a body over HTTP/1.1 is dropped once the request has ended', () => {
  const pieces: string[] = [];
  const events: ClientEvents = {
    onBody: (bytes) => pieces.push(Buffer.from(bytes).toString()),
    onBodyEnd() {},
    onBodyInvalid() {},
    onDrain() {},
    onClientClosed() {},
  };
  const carrier = { pause() {}, resume() {} } as unknown as Http1Carrier;
  const head = parseRequestHead('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked');
  const client = new Http1Client(carrier, head, events);
  client.body.read();
  client.body.push(Buffer.from('a'));
  client.onClosed(true);
  client.body.push(Buffer.from('b'));
  expect(pieces).toEqual(['a']);
});
