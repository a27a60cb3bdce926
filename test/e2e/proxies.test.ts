import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpsServer, type Server } from 'node:https';
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runClient } from '../../testkit/ground/konnectivity-client.ts';
import { freePort, type Program, runProgram } from '../../testkit/processes/process.ts';
import { startTarget, targetBody } from '../../testkit/world/target.ts';
import { loggedLine, startCulvert, startWorld, type World } from '../../testkit/world/world.ts';

const go = await ground.go();
const mib = 1024 * 1024;

const request = (target: string) => `CONNECT ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`;
const established = 'HTTP/1.1 200 Connection Established\r\n\r\n';

/** Reads from a socket piece by piece. */
async function nextPiece(socket: Socket): Promise<string> {
  const [piece] = (await once(socket, 'data')) as [Buffer];
  return piece.toString('latin1');
}

describeWith({ go }, 'Clients that speak HTTP CONNECT or SOCKS 5', ({ go }) => {
  let world: World;
  let target: Server;
  /** Without TLS, on loopback. */
  let socks: string;
  const programs: Program[] = [];

  beforeAll(async () => {
    world = await startWorld({ agentArgs: ['--allow', '127.0.0.1:*', '--dial-timeout', '10s'] });
    // The name by which clients address the cluster.
    const { cert, key } = await world.certificates.serverAuthority.issue({
      name: 'target',
      usage: 'server',
      dnsNames: ['cluster1'],
    });
    target = createHttpsServer({ cert: readFileSync(cert), key: readFileSync(key) }, (_, answer) =>
      answer.end(targetBody),
    ).listen(0, '127.0.0.1');
    await once(target, 'listening');
    socks = await startSocks([]);
  }, 30_000);
  afterAll(async () => {
    target?.close();
    await Promise.all(programs.map((program) => program.stop()));
    await world?.[Symbol.asyncDispose]();
  });

  const targetUrl = () => `https://cluster1:${(target.address() as AddressInfo).port}/`;

  /** A bridge of its own whose only listener is SOCKS 5; returns its address. */
  async function startSocks(args: readonly string[]): Promise<string> {
    const token = await world.tokens.issue({ kind: 'dialer', name: 'socks' });
    const program = startCulvert('bridge', [
      ...['--broker-url', world.brokerUrl, '--ca-file', world.certificates.server.ca],
      ...['--token-file', await world.tokens.file(token)],
      ...['--socks5-listen', '127.0.0.1:0', ...args],
    ]);
    programs.push(program);
    const { addresses } = await loggedLine(program, 'konnectivity bridge listens');
    return (addresses as string[])[0]!;
  }

  async function curl(...args: readonly string[]) {
    const { ca } = world.certificates.server;
    return await runProgram({
      command: 'curl',
      args: ['-sS', '--max-time', '30', '--cacert', ca, ...args],
    });
  }

  /** A connection of a client with its certificate. */
  function dialFront(address = world.front.address): Socket {
    const { server, client } = world.certificates;
    const [host, port] = address.split(':');
    const tcp = connectTcp({ host: host!, port: Number(port), allowHalfOpen: true });
    return connectTls({
      // Node's TLS can be half-open if its TCP connection can.
      socket: tcp,
      ca: readFileSync(server.ca),
      cert: readFileSync(client.cert),
      key: readFileSync(client.key),
    });
  }

  const dialUnix = (): Socket =>
    connectTcp({ path: world.unixFront.address.slice('unix:'.length), allowHalfOpen: true });

  it('curl reaches a target through an HTTPS proxy with a client certificate', async () => {
    const { server, client } = world.certificates;
    const proxy = ['-x', `https://${world.front.address}`, '--proxy-cacert', server.ca];
    const own = ['--proxy-cert', client.cert, '--proxy-key', client.key];
    const answered = await curl(...proxy, ...own, targetUrl());
    expect(answered).toMatchObject({ code: 0, stdout: targetBody });
    const refused = await curl(...proxy, targetUrl());
    expect(refused.code).not.toBe(0);
  });

  it("Go's http.Transport reaches a target through an HTTPS proxy with a client certificate", async () => {
    const proxy = `https://${world.front.address}`;
    expect(await runClient(go, world.front, 'proxy-get', targetUrl(), proxy)).toMatchObject({
      ok: true,
      status: 200,
      bytes: targetBody.length,
    });
  });

  it("Go's http.Transport shows the cause of a failed CONNECT", async () => {
    const url = `https://cluster1:${await freePort()}/`;
    const proxy = `https://${world.front.address}`;
    const { ok, error } = await runClient(go, world.front, 'proxy-get', url, proxy);
    expect(ok).toBe(false);
    expect(error).toMatch(/connect: connection refused/);
  });

  for (const [transport, dial] of [
    ['TLS', dialFront],
    ['a Unix socket', dialUnix],
  ] as const) {
    it(`A client over ${transport} that writes and finishes gets the whole reply`, async () => {
      await using echo = await startTarget({ mode: 'echo' });
      const socket = dial();
      socket.write(request(`cluster1:${echo.port}`));
      expect(await nextPiece(socket)).toBe(established);
      const bytes = Buffer.alloc(8 * mib, 'culvert');
      socket.end(bytes);
      expect((await buffer(socket)).equals(bytes)).toBe(true);
    });

    it(`A client over ${transport} reads the answer alone, although its target speaks first`, async () => {
      await using banner = await startTarget({ mode: 'banner', bytes: 1000 });
      const socket = dial();
      socket.write(request(`cluster1:${banner.port}`));
      expect(await nextPiece(socket)).toBe(established);
      expect(await nextPiece(socket)).toHaveLength(1000);
      socket.destroy();
    });

    it(`A client over ${transport} learns why its dial failed`, async () => {
      const failures: [string, RegExp, string][] = [
        [
          `cluster1:${await freePort()}`,
          /^HTTP\/1\.1 502 dial tcp .*connection refused\r\n/,
          'refused',
        ],
        ['db.shop.svc.cluster1:80', /^HTTP\/1\.1 403 /, 'forbidden_target'],
        ['cluster2:443', /^HTTP\/1\.1 503 No agent available\r\n/, 'no_agent'],
        ['a.b.c.d:443', /^HTTP\/1\.1 503 No agent available\r\n/, 'unknown_destination'],
      ];
      for (const [address, status, code] of failures) {
        const socket = dial();
        socket.end(request(address) + 'early');
        const answer = String(await buffer(socket));
        expect(answer).toMatch(status);
        expect(answer).toContain(`\r\nCulvert-Error: ${code}\r\n`);
      }
      const socket = dial();
      socket.end('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      expect(String(await buffer(socket))).toMatch(/^HTTP\/1\.1 405 /);
    });
  }

  it('A target that reads everything of a client that writes and leaves', async () => {
    await using sink = await startTarget({ mode: 'sink' });
    const socket = dialUnix();
    socket.write(request(`cluster1:${sink.port}`));
    await nextPiece(socket);
    socket.end(Buffer.alloc(mib, 1), () => socket.destroy());
    const [report] = await sink.waitForReports(1);
    expect(report).toMatchObject({ receivedBytes: mib, end: 'fin' });
  });

  it('curl reaches a target through SOCKS 5, which resolves names in the cluster', async () => {
    const answered = await curl('--socks5-hostname', socks, targetUrl());
    expect(answered).toMatchObject({ code: 0, stdout: targetBody });
    const unknown = await curl('--socks5-hostname', socks, 'https://cluster2:443/');
    expect(unknown.code).toBe(97);
  });

  it("Go's http.Transport reaches a target through SOCKS 5", async () => {
    const result = await runClient(go, world.front, 'proxy-get', targetUrl(), `socks5://${socks}`);
    expect(result).toMatchObject({ ok: true, status: 200, bytes: targetBody.length });
  });

  it('A SOCKS 5 client over TLS needs a certificate of the client CA', async () => {
    const { server, client } = world.certificates;
    const tls = ['--konnectivity-tls-cert', server.cert, '--konnectivity-tls-key', server.key];
    const address = await startSocks([...tls, '--konnectivity-client-ca', client.ca]);
    await using echo = await startTarget({ mode: 'echo' });
    const name = Buffer.from('cluster1');
    const socket = dialFront(address);
    socket.write(Buffer.of(5, 1, 0));
    expect(Buffer.from(await nextPiece(socket), 'latin1').toString('hex')).toBe('0500');
    socket.write(
      Buffer.concat([
        Buffer.of(5, 1, 0, 3, name.length),
        name,
        Buffer.of(echo.port >> 8, echo.port & 0xff),
      ]),
    );
    expect(await nextPiece(socket)).toHaveLength(10);
    const bytes = Buffer.alloc(mib, 'culvert');
    socket.end(bytes);
    expect((await buffer(socket)).equals(bytes)).toBe(true);

    const [host, port] = address.split(':');
    const stranger = connectTls({ host: host!, port: Number(port), ca: readFileSync(server.ca) });
    stranger.on('error', () => {});
    stranger.write(Buffer.of(5, 1, 0));
    stranger.resume();
    let received = 0;
    stranger.on('data', (piece: Buffer) => (received += piece.length));
    await new Promise((resolve) => stranger.once('close', resolve));
    expect(received).toBe(0);
  });

  /** Both halves of a token, as curl takes user and password. */
  async function shown(clusters: readonly string[]): Promise<string> {
    const token = await world.tokens.issue({ kind: 'dialer', name: 'alice', clusters });
    return `${token.slice(0, 200)}:${token.slice(200)}`;
  }

  /** Asserts that a SOCKS 5 listener that requires a token obeys its scope. */
  async function expectScoped(address: string, url: string): Promise<void> {
    const allowed = await curl('--socks5-hostname', address, '-U', await shown(['cluster1']), url);
    expect(allowed).toMatchObject({ code: 0, stdout: targetBody });
    const other = await curl('--socks5-hostname', address, '-U', await shown(['cluster2']), url);
    expect(other.code).toBe(97);
    expect(other.output).toMatch(/\(2\)|not allowed|ruleset/i);
    const forged = await curl('--socks5-hostname', address, '-U', 'aaaa.bbbb:.cccc', url);
    expect(forged.code).toBe(97);
    const none = await curl('--socks5-hostname', address, url);
    expect(none.code).toBe(97);
  }

  it('A SOCKS 5 client reaches the clusters of its token only, through a bridge in a process of its own', async () => {
    await expectScoped(await startSocks(['--socks5-require-token']), targetUrl());
  });

  it("A SOCKS 5 client reaches the clusters of its token only, through a bridge in the broker's process", async () => {
    const broker = startCulvert('broker', [
      ...['--listen', '127.0.0.1:0', '--token-public-key', world.tokens.publicKeyFile],
      ...['--socks5-listen', '127.0.0.1:0', '--socks5-require-token'],
    ]);
    programs.push(broker);
    const { url } = await loggedLine(broker, 'broker listens');
    const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const agent = startCulvert('agent', [
      ...['--broker-url', String(url), '--cluster', 'cluster1', '--tunnels', '1'],
      ...['--token-file', await world.tokens.file(token), '--kube-apiserver', '127.0.0.1'],
    ]);
    programs.push(agent);
    await loggedLine(agent, 'connected to the broker');
    const { addresses } = await loggedLine(broker, 'konnectivity bridge listens');
    await expectScoped((addresses as string[])[0]!, targetUrl());
  });
});
