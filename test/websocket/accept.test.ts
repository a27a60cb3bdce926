import { createServer, request, type IncomingMessage } from 'node:http';
import { afterAll, describe, expect, it } from 'vitest';
import { rejectUpgrade } from '../../src/websocket/accept.ts';
import { certificates, linkServer, listen } from './servers.ts';

afterAll(() => certificates[Symbol.asyncDispose]());

const goodHeaders = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Protocol': 'culvert.v1',
};

interface Answer {
  readonly response: IncomingMessage;
  readonly body: string;
}

function upgrade(port: number, headers: Record<string, string>, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', method, headers });
    asked.on('error', reject);
    asked.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ response, body: '' });
    });
    asked.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (text: string) => (body += text));
      response.on('end', () => resolve({ response, body }));
    });
    asked.end();
  });
}

describe('acceptWebSocket', () => {
  it('acceptWebSocket answers with the accept key of RFC 6455 and the sub-protocol', async () => {
    await using server = await linkServer('ws');
    const { response } = await upgrade(server.port, {
      ...goodHeaders,
      Connection: 'keep-alive, upgrade',
      Upgrade: 'WebSocket',
      'Sec-WebSocket-Protocol': 'other, culvert.v1',
      'Sec-WebSocket-Extensions': 'permessage-deflate',
    });
    expect(response.statusCode).toBe(101);
    expect(response.headers).toMatchObject({
      'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
      'sec-websocket-protocol': 'culvert.v1',
    });
    expect(response.headers['sec-websocket-extensions']).toBeUndefined();
    const link = await server.accepted();
    expect(link.peer).toMatch(/^127\.0\.0\.1:\d+$/);
  });

  it.each<[string, Partial<Record<keyof typeof goodHeaders, string>>, string, number]>([
    ['another version', { 'Sec-WebSocket-Version': '8' }, 'GET', 426],
    ['a short key', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }, 'GET', 400],
    ['no sub-protocol of ours', { 'Sec-WebSocket-Protocol': 'culvert.v2' }, 'GET', 400],
    ['another upgrade', { Upgrade: 'h2c' }, 'GET', 400],
    ['another method', {}, 'POST', 400],
  ])('acceptWebSocket refuses %s with an explanation', async (_name, changed, method, status) => {
    await using server = await linkServer('ws');
    const { response, body } = await upgrade(server.port, { ...goodHeaders, ...changed }, method);
    expect(response.statusCode).toBe(status);
    expect(response.headers['content-type']).toBe('application/json');
    expect(JSON.parse(body)).toEqual({ message: expect.stringMatching(/./) });
    const version = response.headers['sec-websocket-version'];
    expect(version).toBe(status === 426 ? '13' : undefined);
  });
});

describe('rejectUpgrade', () => {
  it('rejectUpgrade sends status, headers and sentence as JSON, and closes the connection', async () => {
    await using http = await listen(createServer());
    http.server.on('upgrade', (_request, socket) =>
      rejectUpgrade(socket, 503, { 'Retry-After': '7' }, 'no room: "full"'),
    );
    const { response, body } = await upgrade(http.port, goodHeaders);
    expect(response.statusCode).toBe(503);
    expect(response.headers).toMatchObject({ 'retry-after': '7', connection: 'close' });
    expect(JSON.parse(body)).toEqual({ message: 'no room: "full"' });
  });

  it('rejectUpgrade sends a body unchanged that has its own content type', async () => {
    await using http = await listen(createServer());
    const headers = {
      'Content-Type': 'text/plain',
      'Content-Length': '99',
      'Transfer-Encoding': 'chunked',
    };
    http.server.on('upgrade', (_request, socket) => rejectUpgrade(socket, 401, headers, 'nö'));
    const { response, body } = await upgrade(http.port, goodHeaders);
    expect(response.headers).toMatchObject({ 'content-type': 'text/plain', 'content-length': '3' });
    expect(body).toBe('nö');
  });

  it('rejectUpgrade writes no header that would end the head', async () => {
    await using http = await listen(createServer());
    const thrown = new Promise((resolve) => {
      http.server.on('upgrade', (_request, socket) => {
        try {
          rejectUpgrade(socket, 400, { Evil: 'a\r\nSet-Cookie: b' }, '');
        } catch (error) {
          resolve(error);
          socket.destroy();
        }
      });
    });
    await expect(upgrade(http.port, goodHeaders)).rejects.toThrow('socket hang up');
    expect(await thrown).toBeInstanceOf(TypeError);
  });
});
