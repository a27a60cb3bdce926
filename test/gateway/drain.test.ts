import { afterEach, describe, expect, it } from 'vitest';
import { RawClient } from './raw-client.ts';
import { serveGateway, type ServedGateway } from './served-gateway.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

let world: ServedGateway;
afterEach(() => world[Symbol.asyncDispose]());

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`;

describe('The drain of a gateway', () => {
  it('A gateway that drains lets open requests end, and closes idle connections', async () => {
    world = await serveGateway();
    let finish = (): void => {};
    world.answer = (_request, response) => {
      response.write('part');
      finish = () => void response.end('whole');
    };
    const { address } = world.gateway;
    const busy = new RawClient(address).send(get('/c1/a'));
    await busy.until('part');
    world.answer = (_request, response) => void response.end('hello');
    const idle = new RawClient(address).send(get('/c1/b'));
    await idle.until('hello');
    const drained = world.gateway.drain(new AbortController().signal);
    expect(world.gateway.isDraining).toBe(true);
    await idle.end();
    finish();
    expect(await busy.end()).toContain('whole');
    await drained;
  });

  it('A gateway that drains still serves new connections until the minimum has passed', async () => {
    const clock = new VirtualClock();
    world = await serveGateway({ minDrainMs: 1_000, clock });
    const { address } = world.gateway;
    const drained = world.gateway.drain(new AbortController().signal);
    const late = new RawClient(address).send(get('/c1/a'));
    expect(await late.until('hello')).toMatch(/^HTTP\/1\.1 200 /);
    await clock.advance(1_000);
    await drained;
    await late.end();
  });

  it('The end of the drain time cuts requests and upgraded connections', async () => {
    world = await serveGateway();
    world.answer = (_request, response) => void response.write('part');
    world.server.once('upgrade', (_request, socket) => {
      socket.on('error', () => {});
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello',
      );
    });
    const { address } = world.gateway;
    const watch = new RawClient(address).send(get('/c1/a'));
    const upgraded = new RawClient(address).send(
      'GET /c1/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    );
    await Promise.all([watch.until('part'), upgraded.until('hello')]);
    const limit = new AbortController();
    const drained = world.gateway.drain(limit.signal);
    expect(world.exchanges.live.size).toBe(2);
    limit.abort();
    await drained;
    expect(await watch.end()).not.toContain('\r\n0\r\n');
    await upgraded.end();
    expect(world.exchanges.live.size).toBe(0);
  });
});
