import { once } from 'node:events';
import { expect, it } from 'vitest';
import { FrontConnection } from '../../src/konnectivity/front-connection.ts';
import { clientPreface } from '../../testkit/http2/frames.ts';
import { frontConnectionOptions } from '../../testkit/http2/front-connection-options.ts';
import { socketPair } from '../base/net/socket-pair.ts';

it('The socket of a client that has left leads to nothing of its connection', async () => {
  const [client, socket] = await socketPair();
  const closed: FrontConnection[] = [];
  const connection = new FrontConnection({
    ...frontConnectionOptions,
    socket,
    onAdmitted: () => {},
    onHttp1Refused: () => {},
    onClosed: () => closed.push(connection),
  });
  const left = once(socket, 'close');
  client.end(clientPreface);
  await left;
  expect(closed).toEqual([connection]);
  expect(socket.eventNames()).toEqual(['error']);
});
