import {
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type RequestListener,
  type RequestOptions,
} from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { type RunningGateway, startGatewayServer } from '../../src/gateway/node/gateway-server.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { directExchanges } from './direct-exchange.ts';
import { testGateway } from './test-gateway.ts';

let answer: RequestListener = (_request, response) => void response.end('hello');
const server = createServer((request, response) => answer(request, response));
const exchanges = directExchanges(() => (server.address() as AddressInfo).port);
const { gateway, limits, audited } = testGateway();
let running: RunningGateway;

beforeAll(async () => {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  running = await startGatewayServer(
    { listen: { host: '127.0.0.1', port: 0 } },
    { gateway, open: exchanges.open, userLimits: limits, log: silentLogger },
  );
});
afterAll(async () => {
  await running.close();
  exchanges.close();
  server.closeAllConnections();
  server.close();
});

const dial = (): Socket => connect(running.address.port, '127.0.0.1');

/** Sends bytes, and resolves with everything that comes back until the connection ends. */
async function raw(bytes: string, socket = dial()): Promise<string> {
  let text = '';
  socket.setEncoding('latin1').on('data', (piece: string) => (text += piece));
  socket.on('error', () => {});
  socket.write(bytes, 'latin1');
  await new Promise((resolve) => void socket.on('close', resolve));
  return text;
}

async function send(path: string, options: RequestOptions = {}, bodyText = '') {
  const { port } = running.address;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  httpRequest({ host: '127.0.0.1', port, path, agent: false, ...options }, resolve)
    .on('error', reject)
    .end(bodyText);
  const message = await promise;
  let body = '';
  for await (const piece of message) body += String(piece);
  return { message, body, status: message.statusCode };
}

describe('A gateway over HTTP/1.1', () => {
  it('A gateway forwards a request and its answer', async () => {
    answer = (request, response) => {
      response.setHeader('X-Seen', request.url!);
      response.end('hello');
    };
    const { status, body, message } = await send('/c1/version?a=b%2Fc');
    expect({ status, body }).toEqual({ status: 200, body: 'hello' });
    expect(message.headers['x-seen']).toBe('/version?a=b%2Fc');
    expect(audited.at(-1)).toMatchObject({ cluster: 'c1', code: 200, isComplete: true });
  });

  it('A gateway answers a Status when the URL names no cluster', async () => {
    const { status, body } = await send('/version');
    expect(status).toBe(400);
    expect(JSON.parse(body)).toMatchObject({ kind: 'Status', reason: 'BadRequest', code: 400 });
  });

  it('A gateway cuts a chunked answer whose exchange is cut', async () => {
    answer = (_request, response) => void response.write('part');
    const socket = dial();
    socket.once('data', () =>
      setImmediate(() => exchanges.cut(new TunnelError('agent_lost', 'the agent is gone'))),
    );
    const text = await raw('GET /c1/x HTTP/1.1\r\nHost: a\r\n\r\n', socket);
    expect(text).toContain('part');
    expect(text).not.toContain('\r\n0\r\n');
  });
});
