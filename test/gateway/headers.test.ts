import { describe, expect, it } from 'vitest';
import type { HeaderList } from '../../src/http-exchange/http-exchange.ts';
import { GatewayError } from '../../src/gateway/gateway-error.ts';
import {
  readRequestHeaders,
  withImpersonation,
  withoutAuthorization,
} from '../../src/gateway/request-headers.ts';
import { responseHeaders } from '../../src/gateway/response-headers.ts';
import { readRequestUrl } from '../../src/gateway/request-url.ts';

const client = { address: '10.1.1.1', scheme: 'https', host: 'gw', isTrustedProxy: false } as const;
const forwarded = (headers: HeaderList, from = client) =>
  readRequestHeaders(headers, from).forwarded;
const own: HeaderList = [
  ['X-Forwarded-For', '10.1.1.1'],
  ['X-Forwarded-Proto', 'https'],
  ['X-Forwarded-Host', 'gw'],
];

describe('The fields of a request', () => {
  it('The fields of a request keep their order, spelling and repetitions', () => {
    const headers: HeaderList = [
      ['Host', 'gw'],
      ['aCCEPT', 'a'],
      ['Accept', 'b'],
    ];
    expect(forwarded(headers)).toEqual([...headers, ...own]);
  });

  it('Fields of one connection are removed, also those that Connection names', () => {
    const headers: HeaderList = [
      ['Connection', 'keep-alive, X-Mine'],
      ['connection', 'x-other'],
      ['Keep-Alive', '1'],
      ['Proxy-Connection', 'x'],
      ['Proxy-Authorization', 'x'],
      ['Transfer-Encoding', 'chunked'],
      ['Upgrade', 'gopher'],
      ['X-mine', '1'],
      ['X-Other', '1'],
      ['X-Kept', '1'],
      ['TE', 'gzip, trailers'],
    ];
    expect(forwarded(headers)).toEqual([['X-Kept', '1'], ...own, ['TE', 'trailers']]);
  });

  it.each(['Host', 'Content-Length', 'authorization', 'Impersonate-User', 'impersonate_group'])(
    'A Connection field that names %s is refused',
    (name) => {
      expect(() => forwarded([['Connection', `close, ${name}`]])).toThrow(GatewayError);
    },
  );

  it('Fields of the gateway are removed in every spelling', () => {
    const headers: HeaderList = [
      ['Cluster-Proxy-Namespace', 'x'],
      ['cluster_proxy-port', 'x'],
      ['Impersonate_User', 'x'],
      ['IMPERSONATE-extra_scopes', 'x'],
      ['x_forwarded_for', 'x'],
      ['X-Remote_User', 'x'],
      ['content_length', '3'],
      ['my_field', 'x'],
    ];
    expect(forwarded(headers)).toEqual([['my_field', 'x'], ...own]);
  });

  it('X-Forwarded-For is appended, and the rest is believed to a trusted proxy only', () => {
    const headers: HeaderList = [
      ['X-Forwarded-For', '1.1.1.1'],
      ['X-Forwarded-For', '2.2.2.2'],
      ['X-Forwarded-Proto', 'ftp'],
      ['X-Forwarded-Host', 'evil'],
    ];
    expect(forwarded(headers)).toEqual([
      ['X-Forwarded-For', '1.1.1.1, 2.2.2.2, 10.1.1.1'],
      ...own.slice(1),
    ]);
    const proxy = { ...client, isTrustedProxy: true };
    expect(readRequestHeaders(headers, proxy).forwarded.slice(1)).toEqual([
      ['X-Forwarded-Proto', 'ftp'],
      ['X-Forwarded-Host', 'evil'],
    ]);
  });

  it('An impersonated user replaces every credential and impersonation of the client', () => {
    const headers: HeaderList = [
      ['authorization', 'Bearer secret'],
      ['impersonate-user', 'root'],
      ['Impersonate-Extra-x', 'y'],
      ['Accept', 'a'],
    ];
    expect(withImpersonation(headers, 'ann', ['a', 'b'])).toEqual([
      ['Accept', 'a'],
      ['Impersonate-User', 'ann'],
      ['Impersonate-Group', 'a'],
      ['Impersonate-Group', 'b'],
    ]);
    expect(withoutAuthorization(headers)).toEqual(headers.slice(1));
    expect(withImpersonation([], '\u00fc', [])).toEqual([['Impersonate-User', '\u00c3\u00bc']]);
    for (const name of ['a\r\nX: y', ' a', '', 'a\0']) {
      expect(() => withImpersonation([], 'ann', [name])).toThrow(GatewayError);
    }
  });

  it('An upgrade counts only when Connection names it', () => {
    const upgrade: HeaderList[number] = ['Upgrade', 'WebSocket'];
    const read = readRequestHeaders([['Connection', 'keep-alive, Upgrade'], upgrade], client);
    expect(read.upgrade).toBe('WebSocket');
    expect(read.forwarded).toEqual([...own, ['Connection', 'Upgrade'], upgrade]);
    expect(readRequestHeaders([upgrade], client).upgrade).toBeUndefined();
    for (const none of ['', ' , ']) {
      const headers: HeaderList = [
        ['Connection', 'Upgrade'],
        ['Upgrade', none],
      ];
      expect(readRequestHeaders(headers, client).upgrade).toBeUndefined();
    }
  });
});

describe('The fields of a response', () => {
  const kube = readRequestUrl('/c1/version', undefined, undefined);
  const service = readRequestUrl(
    '/c1/api/v1/namespaces/n/services/http:s:80/proxy-service/a',
    undefined,
    undefined,
  );
  const location = (value: string, route = service): string =>
    responseHeaders([['Location', value]], route, 'gw:9092')[0]![1];

  it('The fields of one connection are removed, but never the length of the body', () => {
    const headers: HeaderList = [
      ['Connection', 'X-Mine, Content-Length'],
      ['X-Mine', '1'],
      ['Keep-Alive', '1'],
      ['Content-Length', '3'],
    ];
    expect(responseHeaders(headers, kube, 'gw')).toEqual([['Content-Length', '3']]);
  });

  it.each([
    ['/login?x', true],
    ['http://s.n.svc/login?x', true],
    ['https://s.n.svc.cluster.local:8443/login?x', true],
    ['http://GW:9092/login?x', true],
    ['//s.n.svc/login?x', true],
    ['http://s.n.svc.evil.com/login?x', false],
    ['https://elsewhere/login', false],
    ['//elsewhere/login', false],
    ['login', false],
  ])('A Location %s of a Service gets the prefix: %s', (value, isRewritten) => {
    expect(location(value)).toBe(isRewritten ? `${service.prefix}/login?x` : value);
  });

  it('A Location of an API server gets the name of the cluster', () => {
    expect(location('/api/v1/x', kube)).toBe('/c1/api/v1/x');
  });
});
