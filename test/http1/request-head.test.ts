import { describe, expect, it } from 'vitest';
import { Http1Error } from '../../src/http1/http1-error.ts';
import { parseRequestHead } from '../../src/http1/request-head.ts';

const head = (...lines: readonly string[]) =>
  parseRequestHead(['GET /a?b HTTP/1.1', 'Host: h', ...lines].join('\r\n'));

describe('The head of a request', () => {
  it('A head has its method, target and fields, byte for byte', () => {
    expect(parseRequestHead('GET /a%2Fb?c=\xe9 HTTP/1.1\r\nHost:h\r\nX-A: \t b \xa0 \t')).toEqual({
      method: 'GET',
      target: '/a%2Fb?c=\xe9',
      headers: [
        ['Host', 'h'],
        ['X-A', 'b \xa0'],
      ],
      host: 'h',
      isHttp10: false,
      framing: { kind: 'none' },
      keepsAlive: true,
      isUpgrade: false,
      expectsContinue: false,
      problem: undefined,
    });
  });

  it.each([
    ['no line', ''],
    ['one word', 'GET'],
    ['no version', 'GET /a'],
    ['two spaces', 'GET  /a HTTP/1.1'],
    ['a tab', 'GET\t/a HTTP/1.1'],
    ['a space in the target', 'GET /a b HTTP/1.1'],
    ['a control character in the target', 'GET /a\x7f HTTP/1.1'],
    ['a bracket in the method', 'G[T /a HTTP/1.1'],
    ['a lower-case version', 'GET /a http/1.1'],
    ['a version of two digits', 'GET /a HTTP/1.11'],
    ['a space behind the version', 'GET /a HTTP/1.1 '],
    ['a bare LF', 'GET /a HTTP/1.1\nHost: h'],
    ['no name', 'GET /a HTTP/1.1\r\n: b'],
    ['no colon', 'GET /a HTTP/1.1\r\nHost'],
    ['a space in front of the colon', 'GET /a HTTP/1.1\r\nHost : h'],
    ['a folded field', 'GET /a HTTP/1.1\r\nHost: h\r\n b'],
    ['an empty line between fields', 'GET /a HTTP/1.1\r\n\r\nHost: h'],
    ['a NUL in a value', 'GET /a HTTP/1.1\r\nHost: h\0'],
    ['a bare CR in a value', 'GET /a HTTP/1.1\r\nHost: h\rX: y'],
  ])('A head with %s is malformed', (_name, text) => {
    expect(() => parseRequestHead(text)).toThrow(Http1Error);
  });

  it.each([
    ['an unknown version', 'GET /a HTTP/2.0\r\nHost: h', 'HTTP/2.0 is not supported'],
    ['no Host', 'GET /a HTTP/1.1', 'has 0 Host headers'],
    ['two Hosts', 'GET /a HTTP/1.1\r\nHost: h\r\nhOST: h', 'has 2 Host headers'],
    ['two Hosts in HTTP/1.0', 'GET /a HTTP/1.0\r\nHost: h\r\nHost: h', 'has 2 Host headers'],
  ])('A head with %s is read, and cannot be served', (_name, text, problem) => {
    const { framing, keepsAlive, ...read } = parseRequestHead(text);
    expect({ framing, keepsAlive }).toEqual({ framing: { kind: 'none' }, keepsAlive: false });
    expect(read.problem).toContain(problem);
  });

  it.each([
    [['Content-Length: 5'], { kind: 'length', bytes: 5 }],
    [['Content-Length: 005'], { kind: 'length', bytes: 5 }],
    [['Content-Length: 0'], { kind: 'none' }],
    [['Transfer-Encoding: Chunked'], { kind: 'chunked' }],
    [[], { kind: 'none' }],
  ])('The fields %j frame the body', (lines, framing) => {
    expect(head(...lines)).toMatchObject({ framing, keepsAlive: true, problem: undefined });
  });

  it.each([
    ['Content-Length: 5', 'Transfer-Encoding: chunked'],
    ['Content-Length: 5', 'Content-Length: 5'],
    ['Content-Length: 5, 5'],
    ['Content-Length: -1'],
    ['Content-Length: 1e3'],
    ['Content-Length:'],
    ['Content-Length: 1234567890123456'],
    ['Transfer-Encoding: gzip, chunked'],
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: identity'],
    ['Transfer-Encoding:'],
  ])('The fields %j frame no body that is clear', (...lines) => {
    expect(head(...lines)).toMatchObject({ framing: { kind: 'none' }, keepsAlive: false });
    expect(head(...lines).problem).toBeDefined();
  });

  it('A client of HTTP/1.0 has no chunks, no upgrade, no expectation and one request', () => {
    const read = parseRequestHead(
      'GET /a HTTP/1.0\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\nExpect: 100-continue',
    );
    expect(read).toMatchObject({ isUpgrade: false, expectsContinue: false, keepsAlive: false });
    const chunked = parseRequestHead('POST /a HTTP/1.0\r\nTransfer-Encoding: chunked');
    expect(chunked.problem).toBe('HTTP/1.0 has no Transfer-Encoding');
  });

  it('Connection ends the connection or names an upgrade', () => {
    expect(head('Connection: a, Close')).toMatchObject({ keepsAlive: false });
    expect(head('Connection: keep-alive')).toMatchObject({ keepsAlive: true });
    expect(head('Connection: upgrade', 'Upgrade: x')).toMatchObject({ isUpgrade: true });
    expect(head('Upgrade: x')).toMatchObject({ isUpgrade: false });
    expect(head('Expect: 100-Continue')).toMatchObject({ expectsContinue: true });
  });

  it('A field of many spaces takes no longer than another one', () => {
    // A hundred of these took minutes with a regular expression that backtracks.
    const spaces = ' '.repeat(48 * 1024);
    for (let again = 0; again < 100; again++) {
      expect(() => head(`X-A:${spaces}\0`)).toThrow(Http1Error);
      expect(head(`X-A: a${spaces}b${spaces}`).headers[1]![1]).toBe(`a${spaces}b`);
    }
  });
});
