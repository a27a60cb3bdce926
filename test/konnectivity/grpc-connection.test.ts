import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { GrpcConnection } from '../../src/konnectivity/grpc-connection.ts';
import { clientPreface, ping, settings } from '../../testkit/http2/frames.ts';
import { frontConnectionOptions } from '../../testkit/http2/front-connection-options.ts';

it('A client that pings and leaves in the same turn gets no write to its destroyed socket', async () => {
  const writes: unknown[] = [];
  const socket = new Socket();
  socket.write = (bytes: unknown) => writes.push(bytes) > 0;
  const connection = new GrpcConnection({
    ...frontConnectionOptions,
    socket,
    onReady: () => {},
  });
  connection.push(Buffer.concat([clientPreface, settings()]));
  await nextTurn();
  expect(writes).toHaveLength(1);
  connection.push(ping());
  connection.onSocketEnd();
  await nextTurn();
  await nextTurn();
  expect(socket.destroyed).toBe(true);
  expect(writes).toHaveLength(1);
});
