import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { expect, it } from 'vitest';
import { type ConnectionUser, HttpConnection } from '../../../src/agent/http/http-connection.ts';
import { requestText } from '../../../src/agent/http/request-text.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await nextTurn();
}

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
    await turns(20);
    expect(pieces).toEqual(['one']);
    connection.resume();
    await arrived.promise;
    expect(pieces).toEqual(['one', 'two', 'complete']);
    peer.destroy();
    connection.destroy();
    server.close();
  },
);

it('A TLS connection that is paused while its response becomes complete reads the next response', async () => {
  await using certificates = await makeTestCertificates();
  const { key, cert, ca } = certificates.server;
  const body = Buffer.alloc(40_000);
  const answer = Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`),
    body,
  ]);
  const server = createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }, (peer) => {
    peer.on('error', () => {});
    // The records of TLS arrive together, and Node passes each of them on even after a pause.
    peer.on('data', () => void peer.write(answer));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connectTls({ host: '127.0.0.1', port, ca: readFileSync(ca) });
  await once(socket, 'secureConnect');
  const connection = new HttpConnection(socket, () => {});
  for (let request = 0; request < 3; request++) {
    const complete = Promise.withResolvers<void>();
    const user: ConnectionUser = {
      onInformational() {},
      onHead() {},
      onBody: () => false,
      onResponseTrailers() {},
      onComplete: () => complete.resolve(),
      onUpgrade() {},
      onTaken() {},
      onFailed: complete.reject,
    };
    const head = { method: 'GET', path: '/', headers: [] };
    connection.send(requestText(head, { host: 'h', hasBody: false }), user);
    await Promise.race([complete.promise, turns(200)]);
    // Records that did not arrive together wait for this.
    connection.resume();
    await complete.promise;
  }
  expect(connection.isUsable).toBe(true);
  connection.destroy();
  server.close();
});
