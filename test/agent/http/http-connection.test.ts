import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type ConnectionUser, HttpConnection } from '../../../src/agent/http/http-connection.ts';
import { requestText } from '../../../src/agent/http/request-text.ts';

it.each([true, false])(
  'A connection whose user wants no more bytes reads none until it resumes (shared: %s)',
  async (isShared) => {
    const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    const [[peer]] = (await Promise.all([once(server, 'connection'), once(socket, 'connect')])) as [
      [Socket],
      unknown,
    ];
    peer.resume();
    const pieces: string[] = [];
    let arrived = Promise.withResolvers<void>();
    const user: ConnectionUser = {
      onInformational() {},
      onHead() {},
      onBody(bytes) {
        pieces.push(Buffer.from(bytes).toString());
        arrived.resolve();
        return false;
      },
      onResponseTrailers() {},
      onComplete: () => pieces.push('complete'),
      onUpgrade() {},
      onTaken() {},
      onFailed: (error) => pieces.push(error.message),
    };
    const connection = isShared
      ? new HttpConnection(socket, (idle) => idle.destroy())
      : new HttpConnection(socket);
    const head = { method: 'GET', path: '/', headers: [] };
    connection.send(requestText(head, { host: 'h', hasBody: false }), user);
    peer.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none');
    await arrived.promise;
    arrived = Promise.withResolvers();
    await new Promise((resolve) => peer.write('two', resolve));
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    expect(pieces).toEqual(['one']);
    connection.resume();
    await arrived.promise;
    expect(pieces).toEqual(['one', 'two', 'complete']);
    peer.destroy();
    connection.destroy();
    server.close();
  },
);
