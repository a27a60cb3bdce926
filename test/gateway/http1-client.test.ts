import { expect, it } from 'vitest';
import type { ClientEvents } from '../../src/gateway/node/client-side.ts';
import { type Http1Carrier, Http1Client } from '../../src/gateway/node/http1-client.ts';
import { parseRequestHead } from '../../src/http1/request-head.ts';

it('The rest of a body is dropped once the request has ended', () => {
  const pieces: Uint8Array[] = [];
  const events: ClientEvents = {
    onBody: (bytes) => pieces.push(bytes),
    onBodyEnd() {},
    onBodyInvalid() {},
    onDrain() {},
    onClientClosed() {},
  };
  const carrier = { pause() {}, resume() {} } as unknown as Http1Carrier;
  const head = parseRequestHead('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3');
  const client = new Http1Client(carrier, head, events);
  client.readBody();
  client.onBody(Uint8Array.of(1));
  client.onClosed(true);
  client.onBody(Uint8Array.of(2));
  expect(pieces).toEqual([Uint8Array.of(1)]);
});
