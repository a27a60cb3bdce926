import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { openHttpListener } from '../../src/base/server/http-listener.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';
import { createApp } from '../../src/broker/app.ts';
import { type Identity, unknownPeer } from '../../src/broker/authenticator.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { brokerConnectionLimits } from '../../src/broker/node/connection-limits.ts';
import { serveApp } from '../../src/broker/node/serve-app.ts';
import type { UpgradeParts } from '../../src/broker/node/upgrade.ts';
import { Relay } from '../../src/broker/relay.ts';

const log = silentLogger;
const clock = systemClock;

const paths = ['/v1/agent', '/v1/clusters/c1/session'];
/** How a client ends, and how many connections the broker still has then. */
const endings = [
  ['is cut off', (socket: Socket) => socket.resetAndDestroy(), 0],
  ['leaves', (socket: Socket) => socket.end(), 1],
] as const;

it.each(paths.flatMap((path) => endings.map((ending) => [path, ...ending] as const)))(
  'A client of %s that %s while its credential is checked counts for nobody',
  async (path, _, end, open) => {
    const options = { replica: 'r1', address: '', directory: new MemoryDirectory(), clock, log };
    const relay = new Relay(options);
    const asked = Promise.withResolvers<void>();
    const checked = Promise.withResolvers<Identity>();
    const app = createApp({
      ...{ relay, clock, log },
      acceptRate: new AcceptRate(100, clock),
      authenticator: {
        authenticate() {
          asked.resolve();
          return checked.promise;
        },
      },
    });
    const answered = Promise.withResolvers<void>();
    const fetch: UpgradeParts['app']['fetch'] = async (request, runtime) => {
      const response = await app.fetch(request, runtime);
      answered.resolve();
      return response;
    };
    await using listener = await openHttpListener({
      name: 'test',
      address: { host: '127.0.0.1', port: 0 },
      limits: brokerConnectionLimits(100),
      handler: serveApp({
        ...{ app: { fetch }, log },
        peerOf: () => unknownPeer,
        onLink: (link, client) => relay.admit(link, client),
      }),
      log,
    });
    const socket = connect(listener.address);
    await once(socket, 'connect');
    const lines = [
      `GET ${path} HTTP/1.1`,
      'Host: test',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Protocol: culvert.v1',
      `Sec-WebSocket-Key: ${Buffer.alloc(16).toString('base64')}`,
      'Culvert-Cluster: c1',
      'Culvert-Agent: a',
    ];
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    await asked.promise;
    end(socket);
    await expect.poll(() => listener.connections.count).toBe(open);
    checked.resolve({ kind: 'anyone' });
    await answered.promise;
    // A link is admitted in the turn of the answer.
    await new Promise(setImmediate);
    await expect.poll(() => [relay.tunnelCount('c1'), relay.dialerCount]).toEqual([0, 0]);
  },
);
