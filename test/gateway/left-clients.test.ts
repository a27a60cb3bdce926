import { once } from 'node:events';
import { Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { serveGateway, serveTlsGateway, type ServedGateway } from './served-gateway.ts';
import { RawClient } from './raw-client.ts';

const stack: AsyncDisposable[] = [];
afterEach(async () => {
  vi.restoreAllMocks();
  for (const part of stack.splice(0).toReversed()) await part[Symbol.asyncDispose]();
});

async function served(options: Parameters<typeof serveGateway>[0] = {}): Promise<ServedGateway> {
  const world = await serveGateway(options);
  stack.push(world);
  return world;
}

const leave = {
  'ends its direction': (client: RawClient) => client.socket.end(),
  'resets the connection': (client: RawClient) => client.socket.resetAndDestroy(),
};
const ways = Object.entries(leave).map(([way, act]) => ({ way, act }));

const upgrade =
  'GET /c1/api/v1/namespaces/n/pods/p/exec HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

const post = 'POST /c1/a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n';

const switching = 'HTTP/1.1 101 Switching Protocols\r\n';
/** More than the buffers of two kernels hold. */
const sentBytes = 32 * 1024 ** 2;

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

describe('A client that leaves', () => {
  it.each(ways)(
    'A client that $way before the server answers its upgrade has left',
    async ({ act }) => {
      const world = await served();
      const asked = once(world.server, 'upgrade');
      const client = new RawClient(world.gateway.address).send(`${upgrade}early`);
      await asked;
      act(client);
      await until(() => world.exchanges.live.size === 0);
      expect(world.audited).toMatchObject([{ code: 0, isComplete: false }]);
    },
  );

  it.each(ways)(
    'A client that $way behind its whole body has left, also before it is admitted',
    async ({ act }) => {
      const asked = Promise.withResolvers<void>();
      const authenticate = () => {
        asked.resolve();
        return Promise.race<never>([]);
      };
      const world = await served({ core: { authenticator: { authenticate } } });
      const client = new RawClient(world.gateway.address).send(`${post}hello`);
      await asked.promise;
      act(client);
      await until(() => world.audited.length > 0);
      expect(world.audited).toMatchObject([{ code: 0, isComplete: false }]);
    },
  );

  it('A client that sends much before the server answers its upgrade stalls itself, and loses nothing', async () => {
    const world = await served();
    const asked = once(world.server, 'upgrade');
    const client = new RawClient(world.gateway.address).send(upgrade);
    const [, socket] = (await asked) as [unknown, Socket];
    client.send('x'.repeat(sentBytes));
    const other = new RawClient(world.gateway.address);
    for (let count = 1; count <= 100; count++) {
      other.send('GET /c1/a HTTP/1.1\r\nHost: a\r\n\r\n');
      await until(() => other.text.match(/hello/g)?.length === count);
    }
    expect(client.socket.writableLength).toBeGreaterThan(0);
    let receivedBytes = 0;
    socket.on('data', (piece: Buffer) => (receivedBytes += piece.length));
    socket.write(`${switching}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`);
    await until(() => receivedBytes === sentBytes);
    client.socket.destroy();
    other.socket.destroy();
  });
});

describe('A client that disappears without a word', () => {
  it.each([
    { kind: 'plain', serve: serveGateway },
    { kind: 'TLS', serve: serveTlsGateway },
  ])('The kernel probes an idle $kind connection', async ({ serve }) => {
    const probes = vi.spyOn(Socket.prototype, 'setKeepAlive');
    const world = await serve();
    stack.push(world);
    const client = new RawClient(world.gateway.address);
    await once(client.socket, 'connect');
    await vi.waitFor(() => expect(probes).toHaveBeenCalledWith(true, 15_000, 15_000, 9));
    client.socket.destroy();
  });
});
