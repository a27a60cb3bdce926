import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { afterAll, describe, expect, it } from 'vitest';
import { SocketInput } from '../../../src/base/net/socket-input.ts';
import { certificates, listen, serverCa, serverTls } from '../../websocket/servers.ts';

afterAll(() => certificates[Symbol.asyncDispose]());

/** Both ends of a connection. */
async function pair(isTls: boolean) {
  const listening = await listen(isTls ? createTlsServer(serverTls) : createServer());
  const accepted = once(listening.server, isTls ? 'secureConnection' : 'connection');
  const { port } = listening;
  const client = isTls
    ? connectTls({ port, host: '127.0.0.1', servername: 'localhost', ca: serverCa })
    : connect(port, '127.0.0.1');
  await once(client, isTls ? 'secureConnect' : 'connect');
  const [server] = (await accepted) as [Socket];
  return { client, server, [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose]() };
}

describe('SocketInput', () => {
  // Without static reads everything works at half the speed. So only this test shows that an
  // update of Node broke them.
  it.each([
    ['TCP', false],
    ['TLS', true],
  ])('Reads of both ends of a %s connection go to shared memory', async (_, isTls) => {
    await using sockets = await pair(isTls);
    const { client, server } = sockets;
    const inputs = [client, server].map((socket) => new SocketInput(socket, new Uint8Array(0)));
    expect(inputs.map(({ isStatic }) => isStatic)).toEqual([true, true]);

    const memory = new Set<ArrayBufferLike>();
    const heard = inputs.map((input) => {
      const { promise, resolve } = Promise.withResolvers<string>();
      input.start((bytes) => {
        memory.add(bytes.buffer);
        resolve(Buffer.from(bytes).toString());
      });
      return promise;
    });
    client.write('from the client');
    server.write('from the server');
    expect(await Promise.all(heard)).toEqual(['from the server', 'from the client']);
    expect(memory.size).toBe(1);
  });
});
