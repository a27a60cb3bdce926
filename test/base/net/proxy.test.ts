import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parseProxyUrl, proxyFingerprint, ProxyUrlError } from '../../../src/base/net/proxy.ts';

describe('parseProxyUrl', () => {
  it.each<[string, string, string, number]>([
    ['proxy.example', 'http', 'proxy.example', 80],
    ['proxy.example:3128', 'http', 'proxy.example', 3128],
    [' http://proxy.example:80/ \n', 'http', 'proxy.example', 80],
    ['HTTPS://Proxy.Example', 'https', 'proxy.example', 443],
    ['https://proxy.example:80', 'https', 'proxy.example', 80],
    ['http://proxy.example:3128/path?query', 'http', 'proxy.example', 3128],
    ['http://[fd00::1]:3128', 'http', 'fd00::1', 3128],
    ['socks5://proxy.example', 'socks5', 'proxy.example', 1080],
    ['socks5h://[::1]:80', 'socks5h', '::1', 80],
  ])('parseProxyUrl reads the proxy URL %j', (text, scheme, host, port) => {
    expect(parseProxyUrl(text)).toEqual({ scheme, host, port, credentials: undefined });
  });

  it.each<[string, string, string]>([
    ['http://ann:p%40ss%25%23%2F@proxy', 'ann', 'p@ss%#/'],
    ['http://ann:p@ss@proxy', 'ann', 'p@ss'],
    ['ann:pass word@proxy', 'ann', 'pass word'],
    ['socks5h://%C3%A4nn:p:q@proxy', 'änn', 'p:q'],
    ['http://ann@proxy', 'ann', ''],
    ['http://:token@proxy', '', 'token'],
  ])('parseProxyUrl finds the user and password in %j', (text, user, password) => {
    const { credentials } = parseProxyUrl(text);
    expect([credentials?.user, credentials?.password.reveal()]).toEqual([user, password]);
  });

  it.each<[string, string, RegExp]>([
    ['http://ann:hunter2%@proxy', 'not_encoded', /%25/],
    ['http://ann:%zzhunter2@proxy', 'not_encoded', /%25/],
    ['http://ann:%ffhunter2@proxy', 'not_encoded', /%25/],
    ['http://hunter2%:pass@proxy', 'not_encoded', /%25/],
    ['http://ann:hunter2#rest@proxy', 'not_encoded', /%23/],
    ['http://ann:22#hunter2@proxy:3128', 'not_encoded', /%23/],
    ['http://ann:22/hunter2@proxy:3128', 'not_encoded', /%2F/],
    ['http://ann:22?hunter2@proxy:3128', 'not_encoded', /%3F/],
    ['http://ann:22\\hunter2@proxy:3128', 'not_encoded', /%5C/],
    ['http://hunter2/:pass@proxy', 'not_encoded', /%2F/],
    ['ann:22#hunter2@proxy', 'not_encoded', /%23/],
    ['socks5://ann:22/hunter2@proxy', 'not_encoded', /%2F/],
    ['socks5://ann:hunter2%@proxy', 'not_encoded', /%25/],
    [`socks5://ann:hunter2${'x'.repeat(255)}@proxy`, 'not_encoded', /255 bytes/],
    ['http://ann:hunter2@', 'not_a_url', /is not a URL/],
    ['http://ann:hunter2@[bad', 'not_a_url', /is not a URL/],
    ['http://ann:hunter2@proxy:99999', 'not_a_url', /is not a URL/],
    ['http://ann:hunter2@proxy:0', 'not_a_url', /is not a URL/],
    ['socks5://ann:hunter2@a b', 'not_a_url', /is not a URL/],
    ['socks4://ann:hunter2@proxy', 'unsupported_scheme', /^begins with socks4:\/\//],
  ])(
    'parseProxyUrl refuses %j without repeating a part of the password',
    (text, code, sentence) => {
      let thrown: unknown;
      try {
        parseProxyUrl(text);
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(ProxyUrlError);
      expect(thrown).toMatchObject({ code, message: expect.stringMatching(sentence) });
      const shown = inspect(thrown, { depth: 9 }).replaceAll(/^ {4}at .*$/gm, '');
      expect(shown).not.toMatch(/hunter2|:22|proxy/);
    },
  );

  it('A parsed proxy is never printed with its password', () => {
    const proxy = parseProxyUrl('http://ann:hunter2@proxy');
    expect(JSON.stringify(proxy) + inspect(proxy, { depth: 9 })).not.toContain('hunter2');
    expect(inspect(proxyFingerprint(proxy))).not.toContain('hunter2');
  });

  it('The fingerprint of a proxy changes with its password', () => {
    const of = (text: string) => proxyFingerprint(parseProxyUrl(text)).reveal();
    expect(of('http://ann:one@proxy')).toBe(of('http://ann:one@proxy'));
    expect(of('http://ann:one@proxy')).not.toBe(of('http://ann:two@proxy'));
  });
});
