import { describe, expect, it } from 'vitest';
import { readHttp2Head } from '../../src/gateway/node/http2-request.ts';
import type { RequestHead } from '../../src/http2/request-head.ts';

const head: RequestHead = {
  method: 'GET',
  path: '/c1/a?b=%2F',
  authority: 'gw',
  protocol: undefined,
  fields: [],
  contentLength: undefined,
};

function read(more: Partial<RequestHead>, ...fields: readonly [string, string][]) {
  const list = fields.map(([name, value]) => ({ name, value }));
  return readHttp2Head({ ...head, fields: list, ...more });
}

describe('A head of HTTP/2 in the words of HTTP/1.1', () => {
  it('Fields keep their order, and the authority becomes the Host in front', () => {
    expect(read({}, ['b', '1'], ['a', ''], ['b', '2'])).toEqual({
      method: 'GET',
      target: '/c1/a?b=%2F',
      headers: [
        ['Host', 'gw'],
        ['b', '1'],
        ['a', ''],
        ['b', '2'],
      ],
      host: 'gw',
      problem: undefined,
    });
  });

  it('Cookies are joined', () => {
    const { headers } = read({}, ['cookie', 'a=1'], ['x', 'y'], ['cookie', 'b=2']);
    expect(headers.slice(1)).toEqual([
      ['x', 'y'],
      ['cookie', 'a=1; b=2'],
    ]);
  });

  it('A Host alone is the host', () => {
    const { headers, host, problem } = read({ authority: undefined }, ['host', 'a']);
    expect({ headers, host, problem }).toEqual({
      headers: [['Host', 'a']],
      host: 'a',
      problem: undefined,
    });
  });

  it.each([
    ['a Host that is not the authority', 'gw', ['a']],
    ['an empty authority beside a Host', '', ['a']],
    ['two Hosts', undefined, ['a', 'b']],
    ['a second Host that is the authority', 'gw', ['a', 'gw']],
  ])('%s is refused', (_, authority, hosts) => {
    const fields = hosts.map((host): [string, string] => ['host', host]);
    const { problem } = read({ authority }, ...fields);
    expect(problem).toBe(':authority and Host name different hosts');
  });

  it('The same Host twice is one', () => {
    const { headers, problem } = read({}, ['host', 'gw'], ['host', 'gw']);
    expect({ headers, problem }).toEqual({ headers: [['Host', 'gw']], problem: undefined });
  });

  it('An extended CONNECT becomes the handshake of a WebSocket with a key of its own', () => {
    const keys = [1, 2].map(() => {
      const { method, headers, problem } = read({ method: 'CONNECT', protocol: 'WebSocket' });
      expect({ method, problem }).toEqual({ method: 'GET', problem: undefined });
      expect(headers.slice(1, 3)).toEqual([
        ['Connection', 'Upgrade'],
        ['Upgrade', 'websocket'],
      ]);
      const [name, key] = headers[3]!;
      expect(name).toBe('Sec-WebSocket-Key');
      expect(Buffer.from(key, 'base64')).toHaveLength(16);
      return key;
    });
    expect(keys[0]).not.toBe(keys[1]);
  });

  it('Another protocol is refused', () => {
    const { problem } = read({ method: 'CONNECT', protocol: 'spdy/3.1' });
    expect(problem).toContain('SPDY/3.1 over HTTP/1.1');
  });
});
