import { readFile } from 'node:fs/promises';
import { createServer, type Server as HttpServer } from 'node:http';
import { connect as connectTcp, createServer as createTcpServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { afterAll, describe, expect, it } from 'vitest';
import { FrameType } from '../../src/tunnel/frame.ts';
import { ConnectError } from '../../src/tunnel/connect-error.ts';
import { connectWebSocket, type ConnectOptions } from '../../src/websocket/connect.ts';
import { type Proxy, parseProxyUrl } from '../../src/base/net/proxy.ts';
import { acceptKey } from '../../src/websocket/handshake-key.ts';
import { notLoopback, startConnectProxy } from '../../testkit/network/connect-proxy.ts';
import { startSocksProxy } from '../../testkit/network/socks-proxy.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { RecordingOwner, turns } from './link-owners.ts';
import { certificates, linkServer, listen, serverCa, serverTls } from './servers.ts';

afterAll(() => certificates[Symbol.asyncDispose]());

async function failure(options: ConnectOptions): Promise<ConnectError> {
  const outcome = await connectWebSocket(options).catch((thrown: unknown) => thrown);
  if (!(outcome instanceof ConnectError)) throw new Error('no ConnectError', { cause: outcome });
  return outcome;
}

/** A server that answers every request head with `answer`, raw. */
async function answering(answer: string | ((socket: Socket, head: string) => void)) {
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    let head = '';
    socket.on('data', (bytes) => {
      head += bytes.toString('latin1');
      if (!head.endsWith('\r\n\r\n')) return;
      if (typeof answer === 'string') socket.end(answer);
      else answer(socket, head);
    });
    socket.on('end', () => socket.end());
  });
  const listening = await listen(server);
  return { ...listening, url: new URL(`ws://127.0.0.1:${listening.port}/v1/agent`) };
}

interface TestProxy extends AsyncDisposable {
  readonly proxy: Proxy;
  /** Request line and authorization of each CONNECT. */
  readonly asked: { readonly target: string; readonly authorization: string | undefined }[];
}

/** A minimal proxy. */
async function connectProxy(isTls: boolean, refuse?: string): Promise<TestProxy> {
  const asked: TestProxy['asked'][number][] = [];
  const serve = (socket: Socket) => {
    socket.on('error', () => {});
    socket.once('data', (bytes) => {
      const head = bytes.toString('latin1');
      const target = /^CONNECT (\S+) HTTP\/1\.1\r\n/.exec(head)?.[1] ?? '';
      const authorization = /^proxy-authorization: (.*)\r$/im.exec(head)?.[1];
      asked.push({ target, authorization });
      if (refuse !== undefined) {
        socket.end(refuse);
        return;
      }
      const upstream = connectTcp(Number(target.split(':').at(-1)), '127.0.0.1', () => {
        socket.write('HTTP/1.0 200 Connection established\r\nProxy-agent: test\r\n\r\n');
        socket.pipe(upstream).pipe(socket);
      });
      upstream.on('error', () => socket.destroy());
      socket.on('close', () => upstream.destroy());
    });
  };
  const server = isTls ? createTlsServer(serverTls, serve) : createTcpServer(serve);
  const listening = await listen(server);
  const scheme = isTls ? 'https' : 'http';
  return {
    proxy: parseProxyUrl(`${scheme}://user:p%40ss@localhost:${listening.port}`),
    asked,
    [Symbol.asyncDispose]: () => listening[Symbol.asyncDispose](),
  };
}

async function expectTraffic(
  link: Awaited<ReturnType<typeof connectWebSocket>>,
  server: Awaited<ReturnType<typeof linkServer>>,
): Promise<void> {
  const near = new RecordingOwner();
  const far = new RecordingOwner();
  const accepted = await server.accepted();
  link.attach(near);
  accepted.attach(far);
  link.sendCopy(FrameType.ping, 0, 0, Uint8Array.of(1));
  accepted.sendCopy(FrameType.data, 1, 1, new Uint8Array(300_000));
  await far.until(() => far.frames.length === 1);
  await near.until(() => near.dataBytes === 300_000);
  link.close();
  await Promise.all([near.closed(), far.closed()]);
}

describe('connectWebSocket', () => {
  it.each(['ws', 'wss'] as const)(
    'connectWebSocket connects over %s with its own headers and Host',
    async (scheme) => {
      await using server = await linkServer(scheme);
      const link = await connectWebSocket({
        url: server.url,
        ca: serverCa,
        hostHeader: 'broker.example',
        headers: { Authorization: 'Bearer abc', 'Culvert-Cluster': 'c1' },
      });
      expect(link.peer).toBe(server.url.host);
      expect(server.request?.url).toBe('/v1/agent?x=1');
      expect(server.request?.headers).toMatchObject({
        host: 'broker.example',
        authorization: 'Bearer abc',
        'culvert-cluster': 'c1',
        'sec-websocket-protocol': 'culvert.v1',
      });
      await expectTraffic(link, server);
    },
  );

  it('connectWebSocket checks the certificate against the given server name', async () => {
    await using server = await linkServer('wss');
    const url = new URL(`wss://127.0.0.1:${server.port}/`);
    await expectTraffic(await connectWebSocket({ url, ca: serverCa }), server);
    const named = { url, ca: serverCa, serverName: 'localhost' };
    await expectTraffic(await connectWebSocket(named), server);
    const error = await failure({ ...named, serverName: 'other.example' });
    expect(error).toMatchObject({ code: 'tls', message: expect.stringContaining('--server-name') });
  });

  it('connectWebSocket asks a proxy for an IPv6 address in brackets, with the port of its scheme', async () => {
    await using proxy = await connectProxy(false, 'HTTP/1.1 403 Forbidden\r\n\r\n');
    await failure({ url: new URL('wss://[fd00::1]/'), proxy: proxy.proxy });
    await failure({ url: new URL('ws://[fd00:0:0::2]:6443/'), proxy: proxy.proxy });
    const targets = proxy.asked.map(({ target }) => target);
    expect(targets).toEqual(['[fd00::1]:443', '[fd00::2]:6443']);
  });

  it('connectWebSocket trusts a CA for a proxy without trusting the CA for the server', async () => {
    await using server = await linkServer('wss');
    await using proxy = await connectProxy(true);
    const given = { url: server.url, proxy: proxy.proxy, proxyCa: serverCa };
    await expectTraffic(await connectWebSocket({ ...given, ca: serverCa }), server);
    const error = await failure(given);
    expect(error).toMatchObject({
      code: 'tls',
      message: expect.stringContaining(`no TLS connection to ${server.url.host} `),
    });
    expect(proxy.asked).toHaveLength(2);
    const other = await failure({ ...given, proxyCa: undefined });
    expect(other).toMatchObject({
      code: 'tls',
      message: expect.stringMatching(/to the proxy localhost:.*give the CA .* with --ca-file/),
    });
    expect(proxy.asked).toHaveLength(2);
  });

  it("connectWebSocket explains that the URL of a proxy must have a name of the proxy's certificate", async () => {
    await using server = await linkServer('wss');
    await using proxy = await connectProxy(true);
    const named = { ...proxy.proxy, host: notLoopback };
    const error = await failure({ url: server.url, proxy: named, proxyCa: serverCa });
    expect(error).toMatchObject({
      code: 'tls',
      message: expect.stringContaining('the URL of the proxy must have a name'),
    });
  });

  it.each([
    ['http', 'ws'],
    ['http', 'wss'],
    ['https', 'ws'],
    ['https', 'wss'],
  ] as const)(
    'connectWebSocket goes through an %s proxy to %s, with user and password',
    async (proxyScheme, scheme) => {
      await using server = await linkServer(scheme);
      await using proxy = await connectProxy(proxyScheme === 'https');
      const link = await connectWebSocket({ url: server.url, ca: serverCa, proxy: proxy.proxy });
      expect(proxy.asked).toEqual([
        {
          target: `localhost:${server.port}`,
          authorization: `Basic ${Buffer.from('user:p@ss').toString('base64')}`,
        },
      ]);
      await expectTraffic(link, server);
    },
  );

  it.each(['ws', 'wss'] as const)(
    'connectWebSocket goes through a SOCKS proxy to %s',
    async (scheme) => {
      await using server = await linkServer(scheme);
      const credentials = { user: 'ann', password: 'p@ss' };
      await using socks = await startSocksProxy({ credentials });
      const { proxy } = socks;
      await expectTraffic(await connectWebSocket({ url: server.url, ca: serverCa, proxy }), server);
      expect(socks.asked).toEqual([`name localhost:${server.port}`]);
    },
  );

  it('connectWebSocket names itself to the server and the proxy, but shows its headers only to the server', async () => {
    await using server = await linkServer('ws');
    await using proxy = await startConnectProxy();
    const headers = { 'X-Gateway-Key': 'secret' };
    const given = { url: server.url, proxy: proxy.proxy, headers };
    (await connectWebSocket({ ...given, userAgent: 'culvert-agent/1.2.3' })).close();
    expect(server.request?.headers).toMatchObject({
      'user-agent': 'culvert-agent/1.2.3',
      'x-gateway-key': 'secret',
    });
    expect(proxy.userAgents).toEqual(['culvert-agent/1.2.3']);
    expect(proxy.heads[0]).not.toContain('secret');

    (await connectWebSocket({ url: server.url })).close();
    expect(server.request?.headers['user-agent']).toMatch(/^culvert\/\d+\./);
    const own = { 'user-agent': 'gateway' };
    (await connectWebSocket({ url: server.url, headers: own })).close();
    expect(server.request?.headers['user-agent']).toBe('gateway');
  });

  it('connectWebSocket skips interim responses before the 101', async () => {
    await using server = await answering((socket, head) => {
      const key = /Sec-WebSocket-Key: (.*)\r\n/.exec(head)![1]!;
      const answer =
        'HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: upgrade\r\n' +
        `sec-websocket-accept: ${acceptKey(key)}\r\nsec-websocket-protocol: culvert.v1\r\n\r\n`;
      socket.write('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r');
      setImmediate(() => socket.write(`\n${answer}`));
    });
    (await connectWebSocket({ url: server.url })).close();
    await using endless = await answering('HTTP/1.1 102 Processing\r\n\r\n'.repeat(2000));
    expect(await failure({ url: endless.url })).toMatchObject({
      code: 'not_websocket',
      message: expect.stringContaining('16384 bytes'),
    });
  });

  it('connectWebSocket reads frames that arrive together with the answer', async () => {
    await using server = await answering((socket, head) => {
      const key = /Sec-WebSocket-Key: (.*)\r\n/.exec(head)![1]!;
      const answer =
        'HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nconnection: upgrade\r\n' +
        `sec-websocket-accept: ${acceptKey(key)}\r\nsec-websocket-protocol: culvert.v1\r\n\r\n`;
      const frame = Buffer.from('820c060000000000000000000000', 'hex');
      socket.write(Buffer.concat([Buffer.from(answer), frame]));
    });
    const link = await connectWebSocket({ url: server.url });
    await turns();
    const owner = new RecordingOwner();
    link.attach(owner);
    await owner.until(() => owner.frames.length === 1);
    expect(owner.frames[0]!.type).toBe(FrameType.pong);
  });
});

describe('The errors of connectWebSocket', () => {
  it.each<[string, number, string, Partial<ConnectError>, RegExp]>([
    [
      'a redirect',
      301,
      'Location: https://new.example/v1/agent?token=secret',
      {},
      /moved to https:\/\/new\.example\/v1\/agent,/,
    ],
    ['a proxy that wants to know who', 401, 'Content-Length: 0', {}, /proxy/],
    ['a firewall', 403, 'Content-Length: 0', {}, /firewall/],
    ['a wrong path', 404, 'Content-Length: 0', {}, /URL/],
    [
      'too many',
      429,
      'Retry-After: 12\r\nContent-Length: 0',
      { retryAfterMs: 12_000 },
      /again in 12 s/,
    ],
    ['a gateway', 502, 'Content-Length: 0', {}, /gateway/],
    [
      'no capacity',
      503,
      'Retry-After: soon\r\nContent-Length: 0',
      { retryAfterMs: undefined },
      /try again later/,
    ],
    ['a teapot', 418, 'Content-Length: 0', {}, /log/],
  ])(
    'upgrade answered by %s: connectWebSocket explains the status %d',
    async (_name, status, headers, details, words) => {
      await using server = await answering(`HTTP/1.1 ${status} X\r\n${headers}\r\n\r\n`);
      const error = await failure({ url: server.url });
      expect(error).toMatchObject({ code: 'rejected', status, ...details });
      expect(error.message).toMatch(words);
      expect(error.message).not.toContain('secret');
    },
  );

  it('connectWebSocket reads Retry-After as a date', async () => {
    const date = new Date(Date.now() + 60_000).toUTCString();
    await using server = await answering(`HTTP/1.1 503 X\r\nRetry-After: ${date}\r\n\r\n`);
    const { retryAfterMs } = await failure({ url: server.url });
    expect(retryAfterMs).toBeGreaterThan(50_000);
    expect(retryAfterMs).toBeLessThanOrEqual(60_000);
  });

  const json = 'application/json; charset=UTF-8';
  const refusal = JSON.stringify({ code: 'forbidden', message: 'not yours' });
  const half = refusal.length >> 1;
  const inChunks = [refusal.slice(0, half), refusal.slice(half), '']
    .map((piece) => `${piece.length.toString(16)}\r\n${piece}\r\n`)
    .join('');

  it.each<[string, number, string, string, string | undefined]>([
    ["a broker's", 403, `Content-Type: ${json}`, refusal, 'forbidden'],
    [
      "a broker's, in chunks",
      403,
      `Content-Type: ${json}\r\nTransfer-Encoding: chunked`,
      inChunks,
      'forbidden',
    ],
    ['a firewall page', 403, 'Content-Type: text/html', '<h1>Blocked</h1>', undefined],
    ['JSON on a page', 403, 'Content-Type: text/html', refusal, undefined],
    ['JSON of no type', 403, 'Server: x', refusal, undefined],
    [
      'JSON of another program',
      401,
      `Content-Type: ${json}`,
      '{"error":"login","message":"who"}',
      undefined,
    ],
    ['numbers', 403, `Content-Type: ${json}`, '{"code":1020,"message":"denied"}', undefined],
    ['half a sentence', 403, `Content-Type: ${json}`, refusal.slice(0, half), undefined],
    ['null', 401, `Content-Type: ${json}`, 'null', undefined],
  ])(
    "connectWebSocket distinguishes a broker's answer from other answers: %s",
    async (_name, status, headers, body, brokerCode) => {
      await using server = await answering(`HTTP/1.1 ${status} X\r\n${headers}\r\n\r\n${body}`);
      const error = await failure({ url: server.url });
      expect(error).toMatchObject({ code: 'rejected', status });
      expect(error.brokerCode).toBe(brokerCode);
      expect(error.message).toMatch(brokerCode === undefined ? /on the way/ : /token/);
    },
  );

  it("connectWebSocket repeats a broker's own sentence, shortened and on one line", async () => {
    const body = JSON.stringify({
      code: 'forbidden',
      message: `cluster c2\n\u001b[31m is not yours ${'x'.repeat(900)}`,
    });
    await using server = await answering(
      `HTTP/1.1 403 X\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    const { message } = await failure({ url: server.url });
    expect(message).toMatch(/\(cluster c2 \[31m is not yours x+…\)/);
    expect(message.length).toBeLessThan(400);
  });

  it.each([
    [200, 'not_websocket'],
    [503, 'rejected'],
  ])(
    'upgrade answered by HTML: connectWebSocket names only the title of a page with status %d',
    async (status, code) => {
      const page = `<html><title>Sign in</title>${'<p>secret</p>'.repeat(2000)}`;
      await using server = await answering(
        `HTTP/1.1 ${status} X\r\nContent-Type: text/html; charset=utf-8\r\n\r\n${page}`,
      );
      const error = await failure({ url: server.url });
      expect(error).toMatchObject({ code, status });
      expect(error.message).toContain('web page titled "Sign in"');
      expect(error.message).not.toContain('secret');
    },
  );

  it('connectWebSocket does not wait for a body that never arrives', async () => {
    const clock = new VirtualClock();
    await using server = await answering((socket) =>
      socket.write('HTTP/1.1 401 X\r\nContent-Length: 50\r\n\r\nhalf'),
    );
    const refused = failure({ url: server.url, clock });
    while (clock.pendingTimers < 2) await turns(1);
    await clock.advance(1000);
    expect(await refused).toMatchObject({ code: 'rejected', status: 401 });
  });

  const upgrade = 'HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';
  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.6\r\n\r\n', /does not speak HTTP/],
    ['a broken status line', 'HTTP/1.1 OK\r\n\r\n', /status line/],
    ['an endless head', `HTTP/1.1 101 X\r\n${'X: y\r\n'.repeat(4000)}`, /16384 bytes/],
    [
      'a wrong key',
      `${upgrade}Sec-WebSocket-Accept: ${acceptKey('x')}\r\n\r\n`,
      /Sec-WebSocket-Accept/,
    ],
    ['no upgrade', 'HTTP/1.1 101 X\r\nConnection: Upgrade\r\n\r\n', /Upgrade: websocket/],
    ['nothing', '', /closed the connection/],
    ['half a head', 'HTTP/1.1 101 X\r\nUpg', /closed the connection/],
  ])(
    'connectWebSocket refuses an answer that is no WebSocket: %s',
    async (_name, answer, words) => {
      await using server = await answering(answer);
      const error = await failure({ url: server.url });
      expect(error.code).toBe('not_websocket');
      expect(error.message).toMatch(words);
    },
  );

  it.each([
    ['', /sub-protocol culvert\.v1/],
    ['Sec-WebSocket-Protocol: chat\r\n', /sub-protocol culvert\.v1/],
    ['Sec-WebSocket-Protocol: culvert.v1\r\nSec-WebSocket-Extensions: x\r\n', /extension/],
  ])('connectWebSocket refuses a server with the headers "%s"', async (headers, words) => {
    await using server = await answering((socket, head) => {
      const key = /Sec-WebSocket-Key: (.*)\r\n/.exec(head)![1]!;
      socket.write(`${upgrade}Sec-WebSocket-Accept: ${acceptKey(key)}\r\n${headers}\r\n`);
    });
    expect((await failure({ url: server.url })).message).toMatch(words);
  });

  it('connectWebSocket trusts the CA of this call, not the CA of an earlier connection', async () => {
    await using server = await linkServer('wss');
    const strangers = await readFile(certificates.stranger.ca, 'utf8');
    const connect = async (ca: string) => (await connectWebSocket({ url: server.url, ca })).close();
    await connect(serverCa);
    expect(await failure({ url: server.url, ca: strangers })).toMatchObject({ code: 'tls' });
    await connect(serverCa);
    await connect(serverCa);
  });

  it('connectWebSocket reports unknown names, closed ports and foreign certificates as different errors', async () => {
    const unknown = await failure({ url: new URL('ws://no-such-host.invalid/') });
    expect(unknown).toMatchObject({ code: 'dns', message: expect.stringContaining('DNS') });

    const { port } = await answeringPortThatCloses();
    const closed = await failure({ url: new URL(`ws://localhost:${port}/`) });
    expect(closed).toMatchObject({
      code: 'connect',
      message: expect.stringContaining('ECONNREFUSED'),
    });

    await using server = await linkServer('wss');
    const foreign = await failure({ url: server.url });
    expect(foreign).toMatchObject({ code: 'tls', message: expect.stringContaining('--ca-file') });

    await using plain = await linkServer('ws');
    const notTls = await failure({ url: new URL(`wss://127.0.0.1:${plain.port}/`), ca: serverCa });
    expect(notTls).toMatchObject({ code: 'tls', message: expect.stringContaining('port') });

    const scheme = await failure({ url: new URL('http://localhost/') });
    expect(scheme).toMatchObject({ code: 'connect', message: expect.stringContaining('wss://') });
  });

  it.each([
    ['HTTP/1.1 407 X\r\n\r\n', { code: 'proxy', status: 407 }, /user and password/],
    [
      'HTTP/1.1 407 X\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n',
      { code: 'proxy', status: 407 },
      /only offers Negotiate, NTLM authentication, and only Basic is supported/,
    ],
    [
      'HTTP/1.1 403 X\r\nRetry-After: 3\r\n\r\n',
      { code: 'proxy', status: 403, retryAfterMs: 3000 },
      /allows CONNECT/,
    ],
    ['SSH-2.0\r\n\r\n', { code: 'proxy' }, /is it an HTTP proxy/],
    ['HTTP/1.1 200 OK\r\n\r\nWelcome', { code: 'proxy' }, /more than its answer/],
    ['', { code: 'proxy' }, /is it an HTTP proxy/],
  ])('connectWebSocket reports a proxy that answers %s', async (answer, expected, words) => {
    await using proxy = await connectProxy(false, answer);
    const error = await failure({ url: new URL('wss://broker.example/'), proxy: proxy.proxy });
    expect(error).toMatchObject(expected);
    expect(error.message).toMatch(words);
    expect(error.message).not.toContain('p%40ss');
  });

  it('connectWebSocket reports a proxy that cannot be reached', async () => {
    const { port } = await answeringPortThatCloses();
    const proxy = parseProxyUrl(`http://127.0.0.1:${port}`);
    const error = await failure({ url: new URL('wss://broker.example/'), proxy });
    expect(error.code).toBe('connect');
    expect(error.message).toContain(`the proxy 127.0.0.1:${port}`);
  });

  it('connectWebSocket gives up on each step that hangs, after 15 s by default, and names the step', async () => {
    await using silent = await listen(createTcpServer());
    await using unanswering = await startUnansweringPort();
    await using half = await answering((socket) => socket.write('HTTP/1.1 101 Swi'));
    const proxy = parseProxyUrl(`http://127.0.0.1:${silent.port}`);
    const at = (scheme: string, port: number) => new URL(`${scheme}://127.0.0.1:${port}/`);
    const cases: [Omit<ConnectOptions, 'clock'>, RegExp][] = [
      [{ url: at('ws', unanswering.port) }, /timed out while connecting to/],
      [{ url: at('ws', silent.port) }, /while waiting for the answer/],
      [{ url: at('wss', silent.port) }, /while in the TLS handshake/],
      [{ url: at('ws', 1), proxy }, /while waiting for the proxy/],
      [{ url: half.url }, /while waiting for the answer/],
    ];
    for (const [options, words] of cases) {
      const clock = new VirtualClock();
      const error = failure({ ...options, clock });
      await turns(100);
      await clock.advance(14_999);
      expect(clock.pendingTimers).toBe(1);
      await clock.advance(1);
      expect((await error).code).toBe('timeout');
      expect((await error).message).toMatch(words);
    }
    await allClosed(silent.sockets);
    await allClosed(half.sockets);
  });

  it('connectWebSocket closes everything when it is aborted, at any moment', async () => {
    await using silent = await listen(createTcpServer());
    const url = new URL(`wss://127.0.0.1:${silent.port}/`);
    const reason = new Error('enough');
    for (let wait = 0; wait < 20; wait++) {
      const abort = new AbortController();
      const error = failure({ url, signal: abort.signal });
      await turns(wait);
      abort.abort(reason);
      expect(await error).toMatchObject({ code: 'aborted', cause: reason });
    }
    expect(await failure({ url, signal: AbortSignal.abort(reason) })).toMatchObject({
      cause: reason,
    });
    await allClosed(silent.sockets);

    for (const scheme of ['http', 'socks5', 'socks5h']) {
      const proxy = parseProxyUrl(`${scheme}://user:pass@127.0.0.1:${silent.port}`);
      for (let wait = 0; wait < 20; wait++) {
        const abort = new AbortController();
        const error = failure({ url, proxy, signal: abort.signal });
        await turns(wait);
        abort.abort(reason);
        expect(await error).toMatchObject({ code: 'aborted', cause: reason });
      }
    }
    await allClosed(silent.sockets);

    await using server = await linkServer('ws');
    const abort = new AbortController();
    const link = await connectWebSocket({ url: server.url, signal: abort.signal });
    abort.abort();
    await expectTraffic(link, server);
  });
});

async function answeringPortThatCloses(): Promise<{ port: number }> {
  const listening = await listen<HttpServer>(createServer());
  await listening[Symbol.asyncDispose]();
  return { port: listening.port };
}

/** Waits until the other ends of our connections have seen them end. */
async function allClosed(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) {
    socket.resume();
    while (!socket.destroyed) await turns(1);
  }
}
