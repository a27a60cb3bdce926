import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { type RunningGateway, startGatewayServer } from '../../src/gateway/node/gateway-server.ts';
import { directExchanges } from './direct-exchange.ts';
import { RawClient } from './raw-client.ts';
import { testGateway } from './test-gateway.ts';

const server = createServer((request, response) => {
  request.resume().on('end', () => response.end('served'));
});
const exchanges = directExchanges(() => (server.address() as AddressInfo).port);
const { gateway, limits } = testGateway();
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

/** The paths that the server was asked for. */
async function pathsAfter(bytes: string): Promise<{ text: string; paths: readonly string[] }> {
  const before = exchanges.opened.length;
  const text = await new RawClient(running.address).send(bytes).end();
  return { text, paths: exchanges.opened.slice(before).map(({ head }) => head.path) };
}

const post = 'POST /c1/a HTTP/1.1\r\nHost: a\r\n';
const smuggled = 'GET /c1/smuggled HTTP/1.1\r\nHost: a\r\n\r\n';

describe('A gateway that gets ambiguous requests', () => {
  it.each([
    ['Content-Length and Transfer-Encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
    ['Transfer-Encoding and Content-Length', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'],
    ['two lengths', 'Content-Length: 0\r\nContent-Length: 40\r\n'],
    ['two equal lengths', 'Content-Length: 0\r\nContent-Length: 0\r\n'],
    ['a list of lengths', 'Content-Length: 0, 40\r\n'],
    ['a signed length', 'Content-Length: +0\r\n'],
    ['a hexadecimal length', 'Content-Length: 0x0\r\n'],
    ['another coding after chunked', 'Transfer-Encoding: chunked, identity\r\n'],
    ['another coding before chunked', 'Transfer-Encoding: gzip, chunked\r\n'],
    ['chunked twice', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n'],
    ['a quoted coding', 'Transfer-Encoding: "chunked"\r\n'],
    ['a coding with a vertical tab', 'Transfer-Encoding: \x0bchunked\r\n'],
    ['a space before the colon', 'Content-Length : 5\r\n'],
    ['a folded field', 'X-A: b\r\n Content-Length: 40\r\n'],
    ['a bare LF in a field', 'X-A: b\nContent-Length: 40\r\n'],
    ['a bare CR in a field', 'X-A: b\rContent-Length: 40\r\n'],
    ['a NUL in a field', 'X-A: b\0\r\n'],
    ['a second Host', 'Host: b\r\n'],
    [
      'a Connection that names Content-Length',
      'Connection: Content-Length\r\nContent-Length: 0\r\n',
    ],
  ])('The gateway refuses %s and serves nothing behind it', async (_name, fields) => {
    const { text, paths } = await pathsAfter(
      `${post}${fields}Connection: close\r\n\r\n0\r\n\r\n${smuggled}`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(text).toContain('"kind":"Status"');
    expect(text).not.toContain('served');
    expect(paths).toEqual([]);
  });

  it.each([
    ['a bare LF behind the request line', 'GET /c1/a HTTP/1.1\nHost: a\n\n'],
    ['no Host', 'GET /c1/a HTTP/1.1\r\n\r\n'],
    [
      'a chunk size with a sign',
      `${post}Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n`,
    ],
    [
      'a chunk without its CRLF',
      `${post}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n`,
    ],
    [
      'a bare LF behind a chunk size',
      `${post}Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n`,
    ],
    ['an unknown version', 'GET /c1/a HTTP/9.9\r\nHost: a\r\n\r\n'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ])('The gateway refuses %s', async (_name, bytes) => {
    const { text, paths } = await pathsAfter(bytes + smuggled);
    expect(text).not.toContain('served');
    expect(paths).not.toContain('/smuggled');
  });

  it('The gateway reads a body by its length, and the next request behind it', async () => {
    const { text, paths } = await pathsAfter(
      `${post}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}` +
        'GET /c1/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    );
    expect(text.match(/served/g)).toHaveLength(2);
    expect(paths).toEqual(['/a', '/next']);
  });

  it('The gateway answers requests of one connection in turn', async () => {
    const one = 'GET /c1/a HTTP/1.1\r\nHost: a\r\n\r\n';
    const last = 'GET /c1/last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    const { text, paths } = await pathsAfter(one.repeat(200) + last);
    expect(text.match(/served/g)).toHaveLength(201);
    expect(paths.at(-1)).toBe('/last');
  });

  it('The gateway closes a connection with too many bytes behind an unanswered request', async () => {
    const one = 'GET /c1/a HTTP/1.1\r\nHost: a\r\n\r\n';
    const { paths } = await pathsAfter(one.repeat(4_000));
    expect(paths.length).toBeLessThan(3);
  });

  it('The gateway answers 431 to a head that is too long', async () => {
    const { text } = await pathsAfter(
      `GET /c1/a HTTP/1.1\r\nHost: a\r\nX-A: ${'a'.repeat(60_000)}\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('The gateway refuses CONNECT and the absolute form', async () => {
    const connecting = await pathsAfter('CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n');
    expect(connecting.text).toMatch(/^HTTP\/1\.1 405 /);
    const absolute = await pathsAfter(
      'GET http://b/c1/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    );
    expect(absolute.text).toMatch(/^HTTP\/1\.1 400 /);
    expect(absolute.paths).toEqual([]);
  });

  it('The gateway refuses an upgrade to an unknown protocol or with a body, and ignores h2c', async () => {
    const upgrade = (protocol: string) =>
      `GET /c1/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: ${protocol}\r\n\r\n`;
    const unknown = await pathsAfter(upgrade('gopher'));
    expect(unknown.text).toMatch(/^HTTP\/1\.1 400 /);
    expect(unknown.paths).toEqual([]);
    const withBody = upgrade('websocket').replace('Host: a', 'Host: a\r\nContent-Length: 4');
    const body = await pathsAfter(`${withBody}GET `);
    expect(body.text).toMatch(/^HTTP\/1\.1 400 /);
    expect(body.paths).toEqual([]);
    const several = await pathsAfter(upgrade('websocket\r\nUpgrade: h2c'));
    expect(several.text).toMatch(/^HTTP\/1\.1 400 /);
    expect(several.paths).toEqual([]);
    const h2c = await pathsAfter(upgrade('h2c'));
    expect(h2c.text).toMatch(/^HTTP\/1\.1 200 /);
  });
});
