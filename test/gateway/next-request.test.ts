import { Socket } from 'node:net';
import { afterEach, expect, it, vi } from 'vitest';
import { RawClient } from './raw-client.ts';
import { serveGateway, type ServedGateway } from './served-gateway.ts';

let world: ServedGateway | undefined;
afterEach(async () => {
  vi.restoreAllMocks();
  await world?.[Symbol.asyncDispose]();
  world = undefined;
});

const bodyBytes = 1024 ** 2;

/** Keeps back the news that the kernel has taken what sockets with this local port wrote. */
function holdTaken(port: number): () => void {
  // oxlint-disable-next-line typescript/unbound-method -- it is called with the socket
  const write = Socket.prototype.write as (bytes: Uint8Array, taken?: () => void) => boolean;
  const held: (() => void)[] = [];
  const spy = vi.spyOn(Socket.prototype, 'write').mockImplementation(function (
    this: Socket,
    ...[bytes, taken]: unknown[]
  ) {
    const isHeld = this.localPort === port && typeof taken === 'function';
    const later = isHeld ? () => void held.push(taken as () => void) : (taken as () => void);
    return write.call(this, bytes as Uint8Array, later);
  });
  return () => {
    spy.mockRestore();
    for (const taken of held) taken();
  };
}

it('A client may send its next request, however long, as soon as it has read an answer', async () => {
  world = await serveGateway();
  let receivedBytes = 0;
  world.answer = (request, response) => {
    request.on('data', (piece: Buffer) => (receivedBytes += piece.length));
    request.on('end', () => response.end(request.method === 'GET' ? 'first' : 'second'));
  };
  const release = holdTaken(world.gateway.address.port);
  const client = new RawClient(world.gateway.address);
  client.send('GET /c1/a HTTP/1.1\r\nHost: a\r\n\r\n');
  await client.until('first');
  // The gateway does not know yet that its answer has left.
  client.send(`POST /c1/a HTTP/1.1\r\nHost: a\r\nContent-Length: ${bodyBytes}\r\n\r\n`);
  client.send('x'.repeat(bodyBytes));
  for (let turns = 0; turns < 200; turns++) await new Promise(setImmediate);
  release();
  await client.until('second');
  expect(receivedBytes).toBe(bodyBytes);
});
