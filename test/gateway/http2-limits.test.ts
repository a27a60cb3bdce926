import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultServerLimits } from '../../src/gateway/node/server-limits.ts';
import { type ServedGateway, serveTlsGateway } from './served-gateway.ts';

const maxRefused = 3;
const stack = new AsyncDisposableStack();
let world: ServedGateway;

beforeAll(async () => {
  world = stack.use(
    await serveTlsGateway({
      limits: {
        http2: {
          ...defaultServerLimits.http2,
          maxHeaderListBytes: 1000,
          maxRefusedStreams: maxRefused,
        },
      },
    }),
  );
});
afterAll(() => stack.disposeAsync());

/** How a request ends: with a status, or with the code of a reset. */
async function ask(session: ClientHttp2Session, fields: number): Promise<number> {
  const headers = Object.fromEntries(Array.from({ length: fields }, (_, n) => [`a${n}`, 'b']));
  const stream = session.request({ ':path': '/c1/version', ...headers }).resume();
  stream.on('error', () => {});
  const answered = once(stream, 'response').then(
    ([head]) => (head as Record<string, number>)[':status']!,
  );
  const reset = new Promise<number>((resolve) => stream.on('close', () => resolve(stream.rstCode)));
  return Promise.race([answered, reset]);
}

describe('The limit of heads that are too long on a connection of HTTP/2', () => {
  it('A connection with as many long heads as allowed is served', async () => {
    const session = connect(world.gateway.url, { rejectUnauthorized: false });
    for (let count = 0; count < maxRefused; count++) {
      expect(await ask(session, 30)).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      expect(await ask(session, 1)).toBe(200);
    }
    session.destroy();
  });

  it('A connection with one long head more ends with ENHANCE_YOUR_CALM, and no other', async () => {
    const session = connect(world.gateway.url, { rejectUnauthorized: false });
    const other = connect(world.gateway.url, { rejectUnauthorized: false });
    session.on('error', () => {});
    const ended = once(session, 'goaway');
    for (let count = 0; count <= maxRefused; count++) await ask(session, 30);
    expect((await ended)[0]).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    expect(await ask(other, 1)).toBe(200);
    other.destroy();
  });
});
