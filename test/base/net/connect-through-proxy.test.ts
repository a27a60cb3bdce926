import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { HostPort } from '../../../src/base/net/host-port.ts';
import { type Proxy, parseProxyUrl } from '../../../src/base/net/proxy.ts';
import { connectThroughProxy } from '../../../src/base/net/connect-through-proxy.ts';
import { RouteError } from '../../../src/base/net/route-error.ts';
import { startSocksProxy, type SocksProxyOptions } from '../../../testkit/network/socks-proxy.ts';
import { startTarget } from '../../../testkit/world/target.ts';

let target: Awaited<ReturnType<typeof startTarget>>;
beforeAll(async () => void (target = await startTarget({ mode: 'echo' })));
afterAll(() => target[Symbol.asyncDispose]());

/** The answer of `destination` through `proxy`. */
async function echoThrough(proxy: Proxy, destination: HostPort): Promise<string> {
  const opened: Socket[] = [];
  const signal = new AbortController().signal;
  const attempt = { opened, progress: { step: '' }, signal };
  try {
    const route = { proxy, destination, cas: [], userAgent: 'test/1' };
    const socket = await connectThroughProxy(route, attempt);
    socket.write('ping');
    socket.resume();
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString();
  } finally {
    for (const socket of opened) socket.destroy();
  }
}

const failure = async (proxy: Proxy, destination: HostPort) => {
  const thrown = await echoThrough(proxy, destination).catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(RouteError);
  return thrown as RouteError;
};

/** An HTTP proxy that sends the given bytes as its answer. */
async function scriptedProxy(answer: string | readonly string[]) {
  const heads: string[] = [];
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.once('data', (bytes) => {
      heads.push(bytes.toString('latin1'));
      const pieces = typeof answer === 'string' ? [answer] : answer;
      const send = (at: number): void => {
        if (at < pieces.length) socket.write(pieces[at]!, () => setImmediate(send, at + 1));
      };
      send(0);
      socket.on('data', (more) => socket.write(more));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  const { port } = server.address() as AddressInfo;
  return { proxy: parseProxyUrl(`http://ann:hunter2@127.0.0.1:${port}`), heads };
}

describe('connectThroughProxy with an HTTP proxy', () => {
  const destination = { host: 'fd00::1', port: 6443 };

  it('An HTTP proxy receives a CONNECT with a User-Agent, and an IPv6 address in brackets', async () => {
    const { proxy, heads } = await scriptedProxy('HTTP/1.1 200 OK\r\n\r\n');
    expect(await echoThrough(proxy, destination)).toBe('ping');
    expect(heads).toEqual([
      'CONNECT [fd00::1]:6443 HTTP/1.1\r\nHost: [fd00::1]:6443\r\nUser-Agent: test/1\r\n' +
        `Proxy-Authorization: Basic ${Buffer.from('ann:hunter2').toString('base64')}\r\n\r\n`,
    ]);
  });

  it.each<[string, readonly string[]]>([
    ['one interim response', ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n']],
    [
      'one interim response with headers',
      ['HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n'],
    ],
    [
      'several interim responses, cut anywhere',
      ['HTTP/1.1 102 P\r\n\r', '\nHTTP/1.1 100 C\r\n\r\nHT', 'TP/1.0 200 OK\r\n\r', '\n'],
    ],
  ])('An HTTP proxy may send %s before its answer', async (_, pieces) => {
    const { proxy } = await scriptedProxy(pieces);
    expect(await echoThrough(proxy, destination)).toBe('ping');
  });

  it('An HTTP proxy is given up after 16 KiB of interim responses', async () => {
    const { proxy } = await scriptedProxy('HTTP/1.1 100 Continue\r\n\r\n'.repeat(1000));
    const error = await failure(proxy, destination);
    expect(error).toMatchObject({ code: 'proxy', message: expect.stringContaining('16384 bytes') });
  });

  it.each<[string, RegExp]>([
    [
      'Proxy-Authenticate: NTLM\r\nProxy-Authenticate: Negotiate\r\n',
      /only offers NTLM, Negotiate/,
    ],
    ['Proxy-Authenticate: Digest realm="x", nonce="y"\r\n', /only offers Digest auth/],
    ['Proxy-Authenticate: NTLM, Basic realm="x"\r\n', /did not accept the user and password/],
    ['', /did not accept the user and password/],
  ])('The 407 answer of an HTTP proxy is explained with advice: %j', async (headers, sentence) => {
    const { proxy } = await scriptedProxy(`HTTP/1.1 407 X\r\n${headers}Content-Length: 0\r\n\r\n`);
    const error = await failure(proxy, destination);
    expect(error).toMatchObject({ code: 'proxy', status: 407 });
    expect(error.message).toMatch(sentence);
    expect(error.message).not.toContain('hunter2');
  });
});

describe('connectThroughProxy with a SOCKS 5 proxy', () => {
  const start = async (options?: SocksProxyOptions) => {
    const started = await startSocksProxy(options);
    onTestFinished(() => started[Symbol.asyncDispose]());
    return started;
  };
  const credentials = { user: 'ann', password: 'hunter2 %@:' };

  it('A SOCKS 5 proxy connects to an address, and to a name that it resolves itself', async () => {
    const { proxy, asked } = await start();
    expect(await echoThrough(proxy, { host: '127.0.0.1', port: target.port })).toBe('ping');
    expect(await echoThrough(proxy, { host: 'only.proxy', port: target.port })).toBe('ping');
    expect(asked).toEqual([`ipv4 127.0.0.1:${target.port}`, `name only.proxy:${target.port}`]);
  });

  it.each(['::1', 'fd00::1:2', '2001:db8:0:1::', '::ffff:10.0.0.1', '1:2:3:4:5:6:7:8'])(
    'A SOCKS 5 proxy receives the address %s in binary',
    async (host) => {
      const { proxy, asked } = await start({ reply: () => 4 });
      await failure(proxy, { host, port: 1 });
      expect(asked).toEqual([`ipv6 ${new URL(`http://[${host}]`).hostname.slice(1, -1)}:1`]);
    },
  );

  it('A SOCKS 5 proxy receives an address that this machine has resolved, with socks5://', async () => {
    const { proxy, asked } = await start({ reply: (host) => (host === '127.0.0.1' ? 0 : 4) });
    const local: Proxy = { ...proxy, scheme: 'socks5' };
    expect(await echoThrough(local, { host: 'localhost', port: target.port })).toBe('ping');
    expect(asked.at(-1)).toBe(`ipv4 127.0.0.1:${target.port}`);
    const error = await failure(local, { host: 'no-such-host.invalid', port: 1 });
    expect(error).toMatchObject({ code: 'dns', message: expect.stringContaining('socks5h://') });
  });

  it('A SOCKS 5 proxy receives user and password when it requires them', async () => {
    const { proxy } = await start({ credentials });
    expect(await echoThrough(proxy, { host: '127.0.0.1', port: target.port })).toBe('ping');
    const wrong = parseProxyUrl(`socks5://ann:wrong@127.0.0.1:${proxy.port}`);
    const error = await failure(wrong, { host: '127.0.0.1', port: 1 });
    expect(error).toMatchObject({ code: 'proxy' });
    expect(error.message).toMatch(/did not accept the user and password in the proxy's URL/);
    const none = await failure({ ...proxy, credentials: undefined }, { host: '1.1.1.1', port: 1 });
    expect(none.message).toMatch(/wants another authentication; put user and password/);
    expect(error.message + none.message).not.toMatch(/hunter2|wrong@/);
  });

  it('A SOCKS 5 proxy does not receive user and password when they are not needed', async () => {
    const { proxy } = await start();
    const given = { ...proxy, ...parseProxyUrl(`socks5://ann:x@127.0.0.1:${proxy.port}`) };
    expect(await echoThrough(given, { host: '127.0.0.1', port: target.port })).toBe('ping');
  });

  it.each<[number, RegExp]>([
    [1, /general failure/],
    [2, /not allowed by its rules/],
    [3, /network unreachable/],
    [4, /host unreachable/],
    [5, /connection refused/],
    [6, /TTL expired/],
    [7, /CONNECT is not supported/],
    [8, /this type of address/],
    [99, /unknown reply code 99/],
  ])('The reply code %d of a SOCKS 5 proxy is explained', async (code, sentence) => {
    const { proxy } = await start({ reply: () => code });
    const error = await failure(proxy, { host: 'api.example', port: 443 });
    expect(error).toMatchObject({ code: 'proxy' });
    expect(error.message).toMatch(
      new RegExp(
        `^the proxy 127.0.0.1:\\d+ did not connect to api.example:443: ${sentence.source}`,
      ),
    );
  });

  it.each<[string, SocksProxyOptions, RegExp]>([
    ['an HTTP server', { greeting: 'HTTP/1.1 400 Bad Request\r\n\r\n' }, /does not speak SOCKS 5/],
    ['nothing', { greeting: '' }, /no proper answer .*is it a SOCKS 5 proxy/],
    ['half an answer', { greeting: Uint8Array.of(5) }, /no proper answer .*is it a SOCKS 5/],
    ['GSSAPI', { greeting: Uint8Array.of(5, 1) }, /does not speak SOCKS 5|another auth/],
    ['more than its answer', { afterReply: 'hello' }, /sent more than its answer/],
  ])('A SOCKS 5 proxy is refused when it sends %s', async (_, options, sentence) => {
    const { proxy } = await start(options);
    const error = await failure(proxy, { host: '127.0.0.1', port: target.port });
    expect(error).toMatchObject({ code: 'proxy', message: expect.stringMatching(sentence) });
  });

  it('A SOCKS 5 proxy does not receive a name that is too long', async () => {
    const { proxy } = await start();
    const error = await failure(proxy, { host: 'a'.repeat(256), port: 1 });
    expect(error).toMatchObject({ code: 'proxy', message: expect.stringContaining('255 bytes') });
  });
});
