import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { BusyWindows } from '../../src/http2/busy-windows.ts';
import { defaultFrontLimits } from '../../src/konnectivity/front-limits.ts';
import { GrpcConnection } from '../../src/konnectivity/grpc-connection.ts';

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
const emptySettings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const ping = Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);

it('A client that pings and leaves in the same turn gets no write to its destroyed socket', async () => {
  const writes: unknown[] = [];
  const socket = new Socket();
  socket.write = (bytes: unknown) => writes.push(bytes) > 0;
  const connection = new GrpcConnection({
    socket,
    peer: 'a client',
    subject: undefined,
    methods: new Map(),
    limits: defaultFrontLimits,
    busyWindows: new BusyWindows(defaultFrontLimits),
    clock: systemClock,
    log: silentLogger,
    onReady: () => {},
  });
  connection.push(Buffer.concat([preface, emptySettings]));
  await nextTurn();
  expect(writes).toHaveLength(1);
  connection.push(ping);
  connection.onSocketEnd();
  await nextTurn();
  await nextTurn();
  expect(socket.destroyed).toBe(true);
  expect(writes).toHaveLength(1);
});
