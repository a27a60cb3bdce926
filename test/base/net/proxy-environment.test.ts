import { describe, expect, it } from 'vitest';
import {
  ProxyEnvironmentError,
  proxyFor,
  readProxyEnvironment,
} from '../../../src/base/net/proxy-environment.ts';

function proxy(url: string, env: Record<string, string>): string | undefined {
  const found = proxyFor(new URL(url), readProxyEnvironment(env));
  return found && `${found.scheme}://${found.host}:${found.port}`;
}

describe('proxyFor', () => {
  it('proxyFor uses HTTP_PROXY for ws, HTTPS_PROXY for wss, and ALL_PROXY if neither applies', () => {
    const env = { HTTP_PROXY: 'http://a:1', HTTPS_PROXY: 'http://b:2', ALL_PROXY: 'http://c:3' };
    expect(proxy('ws://broker', env)).toBe('http://a:1');
    expect(proxy('wss://broker', env)).toBe('http://b:2');
    expect(proxy('wss://broker', { ALL_PROXY: 'http://c:3' })).toBe('http://c:3');
    expect(proxy('ws://broker', { HTTPS_PROXY: 'http://b:2' })).toBeUndefined();
    expect(proxy('ws://broker', {})).toBeUndefined();
  });

  it('proxyFor prefers variables in lower case, and treats empty variables as not set', () => {
    const env = { https_proxy: 'http://small:1', HTTPS_PROXY: 'http://large:1' };
    expect(proxy('wss://broker', env)).toBe('http://small:1');
    expect(proxy('wss://broker', { ...env, https_proxy: '' })).toBe('http://large:1');
    expect(proxy('wss://broker', { ...env, no_proxy: 'broker' })).toBeUndefined();
  });

  it.each(['wss://localhost:1', 'https://LOCALHOST.', 'http://127.1.2.3', 'https://[::1]:6443'])(
    'proxyFor uses no proxy for the loopback URL %s',
    (url) => {
      expect(proxy(url, { ALL_PROXY: 'http://proxy:1' })).toBeUndefined();
    },
  );

  it('proxyFor reads a proxy without a scheme as an http proxy', () => {
    expect(proxy('wss://broker', { HTTPS_PROXY: 'proxy:3128' })).toBe('http://proxy:3128');
  });

  it.each(['socks4://user:hunter2@proxy:1080', 'http://user:hunter2@[bad'])(
    'proxyFor refuses the proxy %s without repeating the password',
    (value) => {
      const read = () => proxy('wss://broker', { HTTPS_PROXY: value });
      expect(read).toThrow(ProxyEnvironmentError);
      expect(read).toThrow(/^(?!.*hunter2)/);
    },
  );

  it.each(['%', '#', '?', '/', '\\'])(
    'proxyFor refuses a proxy password with an unencoded %s, and tells the next step',
    (character) => {
      const value = `http://ann:12${character}hunter2@proxy:3128`;
      const read = () => proxy('wss://broker', { HTTPS_PROXY: value });
      expect(read).toThrow(/^the environment's proxy has a .* in the URL; correct HTTPS_PROXY/);
      expect(read).toThrow(/^(?!.*(?:hunter2|12))/);
    },
  );

  it('proxyFor accepts SOCKS proxies', () => {
    expect(proxy('wss://broker', { ALL_PROXY: 'socks5h://proxy' })).toBe('socks5h://proxy:1080');
    expect(proxy('ws://broker', { all_proxy: 'socks5://proxy:9' })).toBe('socks5://proxy:9');
  });

  it.each<[string, string, boolean]>([
    ['*', 'wss://anything.example', true],
    ['example.com', 'wss://example.com', true],
    ['example.com', 'wss://EXAMPLE.com', true],
    ['Example.COM', 'wss://a.b.example.com', true],
    ['example.com', 'wss://notexample.com', false],
    ['example.com', 'wss://example.com.evil.org', false],
    ['.example.com', 'wss://a.example.com', true],
    ['.example.com', 'wss://example.com', false],
    ['*.example.com', 'wss://a.example.com', true],
    ['*.example.com', 'wss://example.com', false],
    ['example.com:8443', 'wss://example.com:8443', true],
    ['example.com:8443', 'wss://example.com', false],
    ['example.com:443', 'wss://example.com', true],
    ['example.com:80', 'ws://example.com', true],
    ['other, ,example.com', 'wss://example.com', true],
    ['other example.com', 'wss://example.com', true],
    ['10.0.0.0/8', 'wss://10.255.0.1', true],
    ['10.0.0.0/8', 'wss://11.0.0.1', false],
    ['10.0.0.0/33', 'wss://10.0.0.1', false],
    ['10.0.0.0/8', 'wss://10.example.com', false],
    ['10.0.0.1', 'wss://10.0.0.1', true],
    ['10.0.0.1:444', 'wss://10.0.0.1', false],
    ['0.0.1', 'wss://10.0.0.1', false],
    ['fd00::/8', 'wss://[fd00::1]', true],
    ['fd00::1', 'wss://[fd00::1]', true],
    ['[fd00::1]:443', 'wss://[fd00::1]', true],
    ['[fd00::1]:444', 'wss://[fd00::1]', false],
    ['fd00::/8', 'wss://[fe80::1]', false],
    ['fd00:0:0::0:1', 'wss://[fd00::1]', true],
    [':443', 'wss://example.com', false],
    ['', 'wss://example.com', false],
    ['.svc,.cluster.local', 'https://kubernetes.default.svc', true],
    ['10.96.0.1', 'https://10.96.0.1', true],
    ['10.96.0.1:443', 'https://10.96.0.1', true],
    ['10.96.0.0/12', 'https://[::ffff:10.96.0.1]:6443', true],
  ])('NO_PROXY=%s makes the connection to %s direct: %s', (noProxy, url, direct) => {
    const env = { ALL_PROXY: 'http://proxy:1', NO_PROXY: noProxy };
    expect(proxy(url, env) === undefined).toBe(direct);
  });
});
