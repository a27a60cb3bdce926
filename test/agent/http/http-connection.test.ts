import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { connect as connectTls, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { expect, it } from 'vitest';
import type { ConnectionUser } from '../../../src/agent/http/connection-user.ts';
import { HttpConnection } from '../../../src/agent/http/http-connection.ts';
import { requestText } from '../../../src/agent/http/request-text.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';

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

// TLS delivers all records of one read, also after the user has paused.
it('A connection that was paused before the end of a response over TLS carries the next request', async () => {
  await using certificates = await makeTestCertificates();
  const [ca, cert, key] = await Promise.all(
    [certificates.server.ca, certificates.server.cert, certificates.server.key].map((file) =>
      readFile(file),
    ),
  );
  const server = createTlsServer({ cert, key }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connectTls({ host: '127.0.0.1', port, ca });
  const [[peer]] = (await Promise.all([
    once(server, 'secureConnection'),
    once(socket, 'secureConnect'),
  ])) as [[TLSSocket], unknown];
  const idle: HttpConnection[] = [];
  const connection = new HttpConnection(socket, (connected) => idle.push(connected));
  const head = { method: 'GET', path: '/', headers: [] };
  const request = requestText(head, { host: 'h', hasBody: false });
  const exchange = async (bodyBytes: number): Promise<number> => {
    const complete = Promise.withResolvers<void>();
    let received = 0;
    connection.send(request, {
      onInformational() {},
      onHead() {},
      onBody(bytes) {
        received += bytes.length;
        setImmediate(() => connection.resume());
        return false;
      },
      onResponseTrailers() {},
      onComplete: complete.resolve,
      onUpgrade() {},
      onTaken() {},
      onFailed: complete.reject,
    });
    await once(peer, 'data');
    peer.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bodyBytes}\r\n\r\n${'x'.repeat(bodyBytes)}`);
    await complete.promise;
    return received;
  };
  for (const bodyBytes of [40_000, 40_000, 100]) expect(await exchange(bodyBytes)).toBe(bodyBytes);
  expect(idle).toHaveLength(3);
  connection.destroy();
  peer.destroy();
  server.close();
});
