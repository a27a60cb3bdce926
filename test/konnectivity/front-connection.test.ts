import { once } from 'node:events';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { FrontConnection } from '../../src/konnectivity/front-connection.ts';
import { BusyWindows } from '../../src/http2/busy-windows.ts';
import { defaultFrontLimits } from '../../src/konnectivity/front-limits.ts';
import { socketPair } from '../base/net/socket-pair.ts';

it('The socket of a client that has left leads to nothing of its connection', async () => {
  const [client, socket] = await socketPair();
  const closed: FrontConnection[] = [];
  const connection = new FrontConnection({
    socket,
    peer: 'a client',
    subject: undefined,
    methods: new Map(),
    limits: defaultFrontLimits,
    busyWindows: new BusyWindows(defaultFrontLimits),
    clock: systemClock,
    log: silentLogger,
    onAdmitted: () => {},
    onHttp1Refused: () => {},
    onClosed: () => closed.push(connection),
  });
  const left = once(socket, 'close');
  client.end('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  await left;
  expect(closed).toEqual([connection]);
  expect(socket.eventNames()).toEqual(['error']);
});
