import { once } from 'node:events';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { Hono } from 'hono';
import { afterEach, describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { ConnectionLimits } from '../../src/base/server/connection-limits.ts';
import { openHttpListener, type HttpListener } from '../../src/base/server/http-listener.ts';
import { unknownPeer } from '../../src/broker/authenticator.ts';
import { brokerConnectionLimits } from '../../src/broker/node/connection-limits.ts';
import { serveApp } from '../../src/broker/node/serve-app.ts';
import type { NodeRuntime } from '../../src/broker/node/upgrade.ts';

const sockets: Socket[] = [];
const listeners: HttpListener[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await Promise.all(listeners.splice(0).map((listener) => listener.close()));
});

/** A broker's port with another app behind it. */
async function listen(limits: Partial<ConnectionLimits> = {}): Promise<HttpListener> {
  const app = new Hono<{ Bindings: NodeRuntime }>();
  app.get('/echo', (c) => {
    const { acceptRaw } = c.env;
    if (acceptRaw === undefined) return c.text('an upgrade is needed', 426);
    return acceptRaw(({ socket, head }) => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n',
      );
      socket.write(head);
      socket.pipe(socket);
    });
  });
  app.post('/upload', async (c) => {
    let bytes = 0;
    for await (const piece of c.req.raw.body ?? []) bytes += piece.length;
    return c.text(String(bytes));
  });
  app.onError((_, c) => c.text('the body was cut off', 400));
  const log = silentLogger;
  const peerOf = () => unknownPeer;
  const onLink = () => expect.unreachable('no route accepts links');
  const listener = await openHttpListener({
    name: 'test',
    address: { host: '127.0.0.1', port: 0 },
    limits: { ...brokerConnectionLimits(100), ...limits },
    handler: { ...serveApp({ app, log, peerOf, onLink }), acceptsBodies: true },
    log,
  });
  listeners.push(listener);
  return listener;
}

async function received(socket: Socket, until: string): Promise<string> {
  let text = '';
  while (!text.includes(until)) text += String((await once(socket, 'data'))[0]);
  return text;
}

describe('An upgrade to another protocol than culvert links', () => {
  const head = 'GET /echo HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n';

  async function open(limits?: Partial<ConnectionLimits>): Promise<Socket> {
    const { host, port } = (await listen(limits)).address;
    const socket = connect({ host, port });
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  it('hands the raw connection to the handler of its path, with bytes that came early', async () => {
    const socket = await open();
    socket.write(`${head}early`);
    expect(await received(socket, 'early')).toMatch(/^HTTP\/1\.1 101 .*\r\n\r\nearly$/s);
    socket.write('late');
    expect(await received(socket, 'late')).toBe('late');
    socket.end();
    await once(socket, 'close');
  });

  it('frees the connection from the timeouts of requests and answers', async () => {
    const socket = await open({ requestTimeoutMs: 100, answerTimeoutMs: 100 });
    socket.write(head);
    await received(socket, '\r\n\r\n');
    // The timeouts close a younger connection that sends nothing, so they have passed for both.
    const other = connect({ host: '127.0.0.1', port: socket.remotePort! });
    sockets.push(other);
    await once(other, 'close');
    socket.write('still here');
    expect(await received(socket, 'still here')).toBe('still here');
  });

  it('is answered by the app when no handler accepts it', async () => {
    const socket = await open();
    socket.write(head.replace('/echo', '/nowhere'));
    expect(await received(socket, '404 Not Found')).toMatch(/^HTTP\/1\.1 404 /);
  });
});

describe('An upload', () => {
  const begin = ({ address }: HttpListener): ClientRequest => {
    const upload = request({ ...address, method: 'POST', path: '/upload', agent: false });
    upload.write('first ');
    return upload;
  };
  /** The status of the answer to an upload that never ends, or that it was cut off. */
  const outcomeOf = (upload: ClientRequest): Promise<unknown> =>
    Promise.race([
      once(upload, 'response').then(([response]) => (response as IncomingMessage).statusCode),
      once(upload, 'error').then(() => 'cut off'),
    ]).catch(() => 'cut off');
  const shortTimeouts = { requestTimeoutMs: 500, answerTimeoutMs: 500 };

  it('may take longer than the request timeout of the broker port on a listener for users', async () => {
    const brokerPort = await listen(shortTimeouts);
    const userPort = await listen({
      ...shortTimeouts,
      bodyTimeoutMs: Infinity,
      answerTimeoutMs: Infinity,
    });
    const long = begin(userPort);
    // Both listeners look once per second for requests that are too slow. Three uploads that the broker port
    // cuts off one after the other take longer than one look and one timeout.
    for (let at = 0; at < 3; at++) expect(await outcomeOf(begin(brokerPort))).not.toBe(200);
    long.end('last');
    const [response] = await once(long, 'response');
    expect(response.statusCode).toBe(200);
    expect(String((await once(response, 'data'))[0])).toBe('10');
  });
});
