import { once } from 'node:events';
import { createServer } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { expect, it } from 'vitest';
import type { ConnectionUser } from '../../../src/agent/http/connection-user.ts';
import { Http2Connection } from '../../../src/agent/http/http2-connection.ts';
import { Http2Request } from '../../../src/agent/http/http2-request.ts';
import { requestText } from '../../../src/agent/http/request-text.ts';
import { systemClock } from '../../../src/base/clock.ts';

it('An error of the user of a response ends its request alone, and not the process', async () => {
  const server = createServer((_request, response) => {
    response.writeEarlyHints({ link: '</a>; rel=preload' });
    response.writeHead(200, { Trailer: 'Checksum' });
    response.write('part');
    response.addTrailers({ Checksum: 'abc' });
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  await once(socket, 'connect');
  const connection = new Http2Connection({
    socket,
    host: 'server',
    clock: systemClock,
    onRetired() {},
  });
  await connection.ready;
  const head = { method: 'GET', path: '/?watch=1', headers: [] };
  const ask = (failing: keyof ConnectionUser | undefined) =>
    new Promise<string>((resolve) => {
      const fail = (event: keyof ConnectionUser): void => {
        if (event === failing) throw new Error(`${event} fails`);
      };
      expect(connection.reserve()).toBe(true);
      new Http2Request(connection, head, undefined).send(
        requestText(head, { host: 'server', hasBody: false }),
        {
          onInformational: () => fail('onInformational'),
          onHead: () => fail('onHead'),
          onBody: () => {
            fail('onBody');
            return true;
          },
          onResponseTrailers: () => fail('onResponseTrailers'),
          onComplete: () => {
            fail('onComplete');
            resolve('complete');
          },
          onUpgrade() {},
          onTaken() {},
          onFailed: (error) => resolve(error.message),
        },
      );
    });
  const events = [
    'onInformational',
    'onHead',
    'onBody',
    'onResponseTrailers',
    'onComplete',
  ] as const;
  for (const event of events) expect(await ask(event)).toBe(`${event} fails`);
  expect(await ask(undefined)).toBe('complete');
  connection.destroy();
  server.close();
});
