import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { TunnelError } from '../../../src/tunnel/errors.ts';
import { AgentWorld, type AwaitedExchange } from './agent-world.ts';

/** Much longer than these tests take, so that no limit of the agent ends a handshake. */
const dialTimeoutMs = 600_000;
/** Less than the 10 s after which the dialer gives up. */
const waitMs = 5_000;

let onConnection: (socket: Socket) => void;
let world: AgentWorld;

beforeAll(async () => {
  const accept = (socket: Socket): void => {
    socket.on('error', () => {});
    onConnection(socket);
  };
  const makeKube = () => createServer(accept);
  const options = { makeKube, kubeHost: 'kube.example', dialTimeoutMs };
  world = await AgentWorld.start(undefined, accept, options, true);
});

afterAll(() => world[Symbol.asyncDispose]());

const secureService = (port: string) =>
  ({ kind: 'service', scheme: 'https', namespace: 'shop', name: 'web', port }) as const;

const requests: [string, () => AwaitedExchange][] = [
  ['a Service', () => world.open({}, { server: secureService(String(world.servicePort)) })],
  ['the kube-apiserver', () => world.openKube()],
  [
    'the kube-apiserver for a watch',
    () => world.openKube({ path: '/api/v1/pods?watch=true', headers: [] }),
  ],
  // The agent asks the kube-apiserver for the number of the port.
  ['the kube-apiserver for a port', () => world.open({}, { server: secureService('metrics') })],
];

describe('A server that accepts TCP and never answers the TLS handshake', () => {
  let received: PromiseWithResolvers<void>;
  let openCount: number;
  beforeEach(() => {
    received = Promise.withResolvers<void>();
    openCount = 0;
    onConnection = (socket) => {
      openCount++;
      socket.once('data', () => received.resolve());
      socket.on('end', () => socket.end()).on('close', () => openCount--);
    };
  });

  it.each(requests)(
    'The TLS handshake with %s ends at once when the request is cancelled',
    async (_, open) => {
      const exchange = open();
      await received.promise;
      exchange.exchange.reset(new TunnelError('cancelled', 'enough'));
      await expect.poll(() => openCount, { timeout: waitMs }).toBe(0);
    },
  );
});

describe('A server that does not speak TLS', () => {
  it.each(requests)('A request to %s that does not speak TLS fails', async (_, open) => {
    onConnection = (socket) => socket.resume().end('SSH-2.0-OpenSSH\r\n');
    const exchange = open();
    await expect.poll(() => exchange.error?.code, { timeout: waitMs }).toBe('dial_failed');
  });
});
