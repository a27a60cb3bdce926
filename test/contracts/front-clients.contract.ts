import * as testBridge from '../konnectivity-bridge/test-bridge.ts';
import { once } from 'node:events';
import { mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentSubject } from '../../src/base/names/agent-subject.ts';
import type { StartFront } from '../../src/konnectivity/front.ts';
import { type Logger, silentLogger } from '../../src/base/log/logger.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';
import type { BridgeFrontOptions } from '../../src/konnectivity-bridge/options.ts';
import type { TlsFiles } from '../../src/konnectivity/tls-files.ts';
import {
  type CertificateFiles,
  makeTestCertificates,
  type TestCertificates,
} from '../../testkit/world/certificates.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { ProxyPeer } from '../konnectivity-bridge/proxy-peer.ts';
import { connectRaw, RawCall } from '../konnectivity-bridge/raw-call.ts';
import { ScriptedDialer } from '../konnectivity-bridge/scripted-dialer.ts';
import { endOf, Http2Frame, http2FrameTypes } from '../konnectivity-bridge/socket-end.ts';

const loopback = { host: '127.0.0.1', port: 0 };
let certificates: TestCertificates;
let directory: string;

function tlsFiles(): TlsFiles {
  const { server, client } = certificates;
  return { certFile: server.cert, keyFile: server.key, clientCaFile: client.ca };
}

async function pems(files: CertificateFiles) {
  const [ca, cert, key] = await Promise.all([
    readFile(certificates.server.ca),
    readFile(files.cert),
    readFile(files.key),
  ]);
  return { ca, cert, key };
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

/** Dials once and answers; resolves with the connect id, throws when the call ends before that. */
async function dialThrough(peer: ProxyPeer, dialer: ScriptedDialer): Promise<string> {
  const call = peer.call();
  call.dial('cluster1:443');
  const answered = call.opened();
  void dialer.next().then((stream) => stream.handler.onOpened!());
  return await answered;
}

const noBytes = Buffer.alloc(0);
/** No real timer of the front fires during a test. */
const noTimeouts = { handshakeTimeoutMs: 3_600_000 };
/** A front sends this before it has read anything. */
const onlyGreeting = [Http2Frame.settings, Http2Frame.windowUpdate];

/** The types of the frames of an answer. A front may say goodbye with GOAWAY. */
const greetingOf = (answer: Buffer) =>
  http2FrameTypes(answer).filter((type) => type !== Http2Frame.goAway);

/** The status of a call that the front itself answers. */
async function answered(peer: ProxyPeer) {
  const call = peer.call();
  call.data('42', 'before a dial');
  await call.expect('CLOSE_RSP');
  return await call.status;
}

/**
 * What clients of every front get: gRPC over TLS and in the clear, refusals, limits and Unix
 * sockets. The fronts run in a bridge.
 */
export function describeFrontClients(name: string, startFront: StartFront): void {
  const startTestBridge: typeof testBridge.startTestBridge = (dialer, options, parts) =>
    testBridge.startTestBridge(dialer, options, { startFront, ...parts });

  describe(`clients of a front: ${name}`, () => {
    beforeAll(async () => {
      certificates = await makeTestCertificates();
      directory = await mkdtemp(join(tmpdir(), 'culvert-front-'));
    });
    afterAll(async () => {
      await certificates[Symbol.asyncDispose]();
      await rm(directory, { recursive: true });
    });

    describe('A front over TCP with TLS', () => {
      async function start(
        limits = {},
      ): Promise<{ dialer: ScriptedDialer; bridge: testBridge.TestBridge }> {
        const dialer = new ScriptedDialer();
        const bridge = await startTestBridge(
          dialer,
          { listen: loopback, tls: tlsFiles() },
          { limits },
        );
        return { dialer, bridge };
      }

      it('A front with TLS serves a client with a certificate of the client CA', async () => {
        const { dialer, bridge } = await start();
        await using _ = bridge;
        using peer = new ProxyPeer(bridge.address, await pems(certificates.client));
        expect(await dialThrough(peer, dialer)).not.toBe('0');
      });

      it('A front serves clients of an intermediate CA that is alone in the client CA file, and no other clients of its root', async () => {
        const own = await certificates.clientAuthority.createIntermediate('front-intermediate');
        const other = await certificates.clientAuthority.createIntermediate(
          'other-front-intermediate',
        );
        const served = await own.issue({ name: 'below-own', usage: 'client' });
        const refused = await other.issue({ name: 'below-other', usage: 'client' });
        const dialer = new ScriptedDialer();
        const tls = { ...tlsFiles(), clientCaFile: own.caFile };
        await using bridge = await startTestBridge(dialer, { listen: loopback, tls });
        using peer = new ProxyPeer(bridge.address, await pems(served));
        expect(await dialThrough(peer, dialer)).not.toBe('0');
        using stranger = new ProxyPeer(bridge.address, await pems(refused));
        const call = stranger.call();
        call.dial('cluster1:443');
        expect((await call.status).code).toBe(14);
      });

      it.each([
        ['without a certificate', async () => ({ ca: await readFile(certificates.server.ca) })],
        ['with a certificate of an unknown CA', () => pems(certificates.stranger)],
        ['with a certificate of an agent', () => pems(certificates.agent)],
      ])('A front with TLS serves no client %s', async (_, material) => {
        const { dialer, bridge } = await start();
        await using __ = bridge;
        using peer = new ProxyPeer(bridge.address, await material());
        const call = peer.call();
        call.dial('cluster1:443');
        expect((await call.status).code).toBe(14);
        expect(dialer.openedCount).toBe(0);
      });

      describe('A client CA that has also signed certificates of agents', () => {
        const earlier = 'open-cluster-management:cluster-proxy';
        const own = agentSubject('c1', 'proxy-agent');
        const [group, everybody] = own.organizations;

        it.each([
          ["Cluster Proxy's agents", `O=${earlier},CN=${earlier}:proxy-agent`],
          ["Cluster Proxy's agents, without their group", `CN=${earlier}:proxy-agent`],
          ["Cluster Proxy's agents towards the hub", `O=${earlier},CN=${earlier}:addon-agent`],
          ['our agents', `O=${group},O=${everybody},O=system:authenticated,CN=${own.commonName}`],
          ["our agents' group", `O=${group},CN=me`],
          ["one of our agents' names among others", `CN=me,CN=${own.commonName}`],
        ])('A front serves no client whose certificate has the name of %s', async (_, subject) => {
          const files = await certificates.clientAuthority.issue({
            name: 'named',
            usage: 'client',
            subject,
          });
          const lines: (LogFields | undefined)[] = [];
          const log: Logger = {
            ...silentLogger,
            warn: (_, fields) => void lines.push(fields),
            child: () => log,
          };
          const dialer = new ScriptedDialer();
          const options = { listen: loopback, tls: tlsFiles() };
          await using bridge = await startTestBridge(dialer, options, { log });
          using peer = new ProxyPeer(bridge.address, await pems(files));
          const call = peer.call();
          call.dial('cluster1:443');
          expect((await call.status).code).toBe(14);
          expect(dialer.openedCount).toBe(0);
          expect(lines.length).toBeGreaterThan(0);
          const names = subject.split(',').map((part) => part.replace(/^(O|CN)=/, ''));
          const logged = {
            peer: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
            reason: 'agent_certificate',
            subject: expect.arrayContaining(names),
          };
          for (const line of lines) expect(line).toEqual(logged);
          expect(bridge.metrics.read('client_refusal_count/agent_certificate')).toBe(lines.length);
        });

        it.each([
          ['the client certificate of the addon, named after its first SAN', 'CN=127.0.0.1'],
          ['a client of a user who is authenticated', 'O=system:authenticated,CN=dash'],
          [
            'a client whose name only resembles an agent',
            `O=${earlier}-tools,CN=${earlier}-client`,
          ],
          [
            "another add-on's agent",
            'CN=system:open-cluster-management:cluster:c1:addon:x:agent:y',
          ],
        ])('A front serves %s', async (_, subject) => {
          const files = await certificates.clientAuthority.issue({
            name: 'named',
            usage: 'client',
            subject,
          });
          const { dialer, bridge } = await start();
          await using __ = bridge;
          using peer = new ProxyPeer(bridge.address, await pems(files));
          expect(await dialThrough(peer, dialer)).not.toBe('0');
          expect(bridge.metrics.read('client_refusal_count/agent_certificate')).toBe(0);
        });

        it('A front sends nothing to an agent that it refuses, as with a certificate of another CA', async () => {
          const files = await certificates.clientAuthority.issue({
            name: 'named',
            usage: 'client',
            subject: `CN=${earlier}:proxy-agent`,
          });
          const { bridge } = await start();
          await using _ = bridge;
          const socket = connectTls({
            ...(await pems(files)),
            host: '127.0.0.1',
            servername: 'localhost',
            port: portOf(bridge.address),
            ALPNProtocols: ['h2'],
          });
          // A client of gRPC that has heard SETTINGS comes back at once instead of with growing
          // delays.
          expect((await endOf(socket)).answer).toHaveLength(0);
        });
      });

      it('A front negotiates h2 and refuses TLS before 1.2', async () => {
        const { bridge } = await start();
        await using _ = bridge;
        const identity = await pems(certificates.client);
        const open = (options: object) =>
          connectTls({
            host: '127.0.0.1',
            servername: 'localhost',
            port: portOf(bridge.address),
            ...identity,
            ...options,
          });
        // Clients of gRPC need h2, also if they offer it last.
        const good = open({ ALPNProtocols: ['http/1.1', 'h2'] });
        await once(good, 'secureConnect');
        expect(good.alpnProtocol).toBe('h2');
        good.destroy();
        expect(await endOf(open({ ALPNProtocols: ['spdy/3'] }))).toEqual({
          answer: noBytes,
          error: 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
        });
        const old = { ALPNProtocols: ['h2'], minVersion: 'TLSv1', maxVersion: 'TLSv1.1' };
        const refused = await endOf(open({ ...old, ciphers: 'DEFAULT@SECLEVEL=0' }));
        expect(refused).toEqual({
          answer: noBytes,
          error: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
        });
      });

      it.each([
        // As Go's http.Transport with an HTTPS proxy.
        ['names h2 with ALPN', { ALPNProtocols: ['h2', 'http/1.1'] }],
        ['names HTTP/1.1 with ALPN', { ALPNProtocols: ['http/1.1'] }],
        ['does without ALPN', {}],
      ])('A front with TLS decides by the first bytes of a client that %s', async (_, options) => {
        const { bridge } = await start();
        await using __ = bridge;
        const identity = await pems(certificates.client);
        const open = () =>
          connectTls({
            host: '127.0.0.1',
            servername: 'localhost',
            port: portOf(bridge.address),
            ...identity,
            ...options,
          });
        const http1 = open();
        http1.write('GET / HTTP/1.1\r\nHost: c\r\n\r\n');
        expect((await endOf(http1)).answer.toString()).toMatch(/^HTTP\/1\.1 405 /);
        const http2 = open();
        await once(http2, 'secureConnect');
        using session = connectRaw(bridge.address, http2);
        expect(await new Promise((resolve) => session.ping(resolve))).toBeNull();
      });

      it('A front with TLS closes half a handshake, and a connection without a handshake', async () => {
        const { bridge } = await start({ handshakeTimeoutMs: 50 });
        await using _ = bridge;
        const silent = connect(portOf(bridge.address), '127.0.0.1');
        const half = connect(portOf(bridge.address), '127.0.0.1');
        half.write(Buffer.from([0x16, 3, 1, 0x02, 0x00, 1, 0]));
        for (const { answer } of await Promise.all([endOf(silent), endOf(half)])) {
          expect(answer).toHaveLength(0);
        }
        // The guard of all connections did not have to close them later.
        expect(bridge.metrics.read('closed_connection_count/slow_request')).toBe(0);
      });

      it('A front with TLS closes a connection that sends nothing after its handshake', async () => {
        const clock = new VirtualClock();
        const options = { listen: loopback, tls: tlsFiles() };
        const parts = { clock, limits: noTimeouts };
        await using bridge = await startTestBridge(new ScriptedDialer(), options, parts);
        const ownTimers = clock.pendingTimers;
        const socket = connectTls({
          host: '127.0.0.1',
          servername: 'localhost',
          port: portOf(bridge.address),
          ...(await pems(certificates.client)),
          ALPNProtocols: ['h2'],
        });
        const end = endOf(socket);
        await expect.poll(() => clock.pendingTimers).toBe(ownTimers + 1);
        clock.advanceSync(noTimeouts.handshakeTimeoutMs - 1);
        using other = new ProxyPeer(bridge.address, await pems(certificates.client));
        expect((await answered(other)).code).toBe(0);
        expect(socket.closed).toBe(false);
        clock.advanceSync(1);
        expect((await end).answer).toHaveLength(0);
      });

      it('A front with TLS closes plain HTTP and garbage at once, without an answer', async () => {
        const { bridge } = await start(noTimeouts);
        await using _ = bridge;
        for (const text of ['GET / HTTP/1.1\r\nhost: x\r\n\r\n', '\0\xff garbage '.repeat(100)]) {
          const socket = connect(portOf(bridge.address), '127.0.0.1');
          socket.write(text);
          expect((await endOf(socket)).answer).toHaveLength(0);
        }
      });

      it('A front with TLS names the file that it cannot read', async () => {
        await expect(
          startTestBridge(new ScriptedDialer(), {
            listen: loopback,
            tls: { ...tlsFiles(), keyFile: join(directory, 'missing.key') },
          }),
        ).rejects.toThrow(/cannot read the key .*missing\.key/);
      });
    });

    describe('A front over TCP in the clear', () => {
      it('A front in the clear listens on loopback addresses only', async () => {
        const options: BridgeFrontOptions = { listen: { host: '0.0.0.0', port: 0 } };
        await expect(startTestBridge(new ScriptedDialer(), options)).rejects.toThrow(
          expect.objectContaining({ code: 'invalid_options' }),
        );
      });

      it('A front serves many calls on one connection', async () => {
        const dialer = new ScriptedDialer();
        await using bridge = await startTestBridge(dialer);
        using session = connectRaw(bridge.address);
        await once(session, 'remoteSettings');
        const ids = await Promise.all(
          Array.from({ length: 1000 }, () => dialThrough(bridge.peer, dialer)),
        );
        expect(new Set(ids).size).toBe(1000);
        expect(bridge.metrics.read('established_connections')).toBe(1000);
      });

      it('A front limits the calls of one connection', async () => {
        const limits = { maxStreamsPerConnection: 2 };
        await using bridge = await startTestBridge(new ScriptedDialer(), undefined, { limits });
        using session = connectRaw(bridge.address);
        await once(session, 'remoteSettings');
        expect(session.remoteSettings.maxConcurrentStreams).toBe(2);
      });

      it('A front survives a client that cancels thousands of calls', async () => {
        const dialer = new ScriptedDialer();
        await using bridge = await startTestBridge(dialer);
        using session = connectRaw(bridge.address);
        for (let i = 0; i < 3000; i++) {
          const call = new RawCall(session);
          call.stream.close(constants.NGHTTP2_CANCEL);
          await call.closed;
        }
        expect(session.destroyed || session.closed).toBe(false);
        await expect.poll(() => bridge.metrics.read('grpc_connections')).toBe(0);
      });

      it('A front answers an unknown method with UNIMPLEMENTED', async () => {
        await using bridge = await startTestBridge(new ScriptedDialer());
        using session = connectRaw(bridge.address);
        const call = new RawCall(session, { ':path': '/AgentService/Connect' });
        const [headers] = await once(call.stream, 'response');
        expect(headers).toMatchObject({
          ':status': 200,
          'content-type': 'application/grpc',
          'grpc-status': '12',
          'grpc-message': 'unknown%20method%20%2FAgentService%2FConnect',
        });
        expect(await call.closed).toBe(0);
      });

      it.each([
        ['another content type with 415', { 'content-type': 'application/json' }, 415],
        ['another method with 405', { ':method': 'GET' }, 405],
      ])('A front answers %s', async (_, headers, status) => {
        await using bridge = await startTestBridge(new ScriptedDialer());
        using session = connectRaw(bridge.address);
        const call = new RawCall(session, headers);
        const [response] = await once(call.stream, 'response');
        expect(response[':status']).toBe(status);
        await call.closed;
      });

      it('A front ends a call that its client keeps open after the answer', async () => {
        await using bridge = await startTestBridge(new ScriptedDialer());
        using session = connectRaw(bridge.address);
        const call = new RawCall(session);
        call.stream.write(Buffer.from([0, 0, 0, 0, 0]));
        expect(await call.closed).toBe(0);
        await expect.poll(() => bridge.metrics.read('grpc_connections')).toBe(0);
      });

      it('A front ends a call whose client continues to send after the answer', async () => {
        await using bridge = await startTestBridge(new ScriptedDialer());
        using session = connectRaw(bridge.address);
        const call = new RawCall(session);
        const upload = setInterval(() => {
          if (call.stream.writable) call.stream.write(Buffer.from([0, 0, 0, 0, 0]));
        }, 5);
        try {
          expect(await call.closed).toBe(0);
          await expect.poll(() => bridge.metrics.read('grpc_connections')).toBe(0);
        } finally {
          clearInterval(upload);
        }
      });

      it('A front answers a compressed packet with UNIMPLEMENTED', async () => {
        await using bridge = await startTestBridge(new ScriptedDialer());
        using session = connectRaw(bridge.address);
        const call = new RawCall(session);
        const trailers = once(call.stream, 'trailers');
        call.stream.write(Buffer.from([1, 0, 0, 0, 1, 0]));
        expect((await trailers)[0]).toMatchObject({ 'grpc-status': '12' });
      });

      it.each([
        ['garbage', '\0\xff garbage '.repeat(100)],
        ['SOCKS 5', Buffer.from([5, 1, 0])],
        [
          'the start of a TLS handshake',
          Buffer.from([0x16, 3, 1, 0x02, 0x00, 1, 0, ...Buffer.alloc(40)]),
        ],
      ])('A front in the clear closes %s at once, without an answer', async (_, bytes) => {
        const limits = noTimeouts;
        await using bridge = await startTestBridge(new ScriptedDialer(), undefined, { limits });
        const socket = connect(portOf(bridge.address), '127.0.0.1');
        socket.write(bytes);
        expect((await endOf(socket)).answer).toHaveLength(0);
      });

      it.each([
        ['sends nothing', '', []],
        ['sends half a preface', 'PRI * HTTP/2.0\r\n', onlyGreeting],
      ])(
        'A front in the clear closes a connection that %s, after the handshake timeout',
        async (_, bytes, greeting) => {
          const clock = new VirtualClock();
          const parts = { clock, limits: noTimeouts };
          await using bridge = await startTestBridge(new ScriptedDialer(), undefined, parts);
          const socket = connect(portOf(bridge.address), '127.0.0.1');
          socket.write(bytes);
          const end = endOf(socket);
          await expect.poll(() => clock.pendingTimers).toBe(1);
          clock.advanceSync(noTimeouts.handshakeTimeoutMs - 1);
          expect((await answered(bridge.peer)).code).toBe(0);
          expect(socket.closed).toBe(false);
          clock.advanceSync(1);
          expect(greetingOf((await end).answer)).toEqual(greeting);
        },
      );

      it('A front keeps a connection open that is idle after its preface', async () => {
        const clock = new VirtualClock();
        const parts = { clock, limits: noTimeouts };
        await using bridge = await startTestBridge(new ScriptedDialer(), undefined, parts);
        using session = connectRaw(bridge.address);
        // The answer comes after the front has read our preface.
        await new Promise((resolve) => session.ping(resolve));
        const silent = connect(portOf(bridge.address), '127.0.0.1');
        const end = endOf(silent);
        await expect.poll(() => clock.pendingTimers).toBe(1);
        clock.advanceSync(noTimeouts.handshakeTimeoutMs);
        await end;
        const error = await new Promise((resolve) => session.ping(resolve));
        expect(error).toBeNull();
      });

      it('A front reports why it cannot listen', async () => {
        await using first = await startTestBridge(new ScriptedDialer());
        const listen = { host: '127.0.0.1', port: portOf(first.address) };
        await expect(startTestBridge(new ScriptedDialer(), { listen })).rejects.toThrow(
          expect.objectContaining({
            code: 'listen_failed',
            message: expect.stringContaining('EADDRINUSE'),
          }),
        );
      });
    });

    describe('A front on a Unix socket', () => {
      it('A Unix socket serves its owner and group only, and disappears with the bridge', async () => {
        const udsPath = join(directory, 'mode.sock');
        const dialer = new ScriptedDialer();
        {
          await using bridge = await startTestBridge(dialer, { udsPath });
          expect((await stat(udsPath)).mode & 0o777).toBe(0o770);
          expect(await dialThrough(bridge.peer, dialer)).not.toBe('0');
        }
        await expect(stat(udsPath)).rejects.toThrow('ENOENT');
      });

      it('A Unix socket serves clients beside TCP', async () => {
        const dialer = new ScriptedDialer();
        await using bridge = await startTestBridge(dialer, {
          listen: loopback,
          udsPath: join(directory, 'both.sock'),
        });
        expect(bridge.bridge.addresses).toHaveLength(2);
        for (const address of bridge.bridge.addresses) {
          using peer = new ProxyPeer(address);
          expect(await dialThrough(peer, dialer)).not.toBe('0');
        }
      });

      it('A Unix socket replaces a socket without a listener', async () => {
        const udsPath = join(directory, 'stale.sock');
        const server = createServer().listen(udsPath);
        await once(server, 'listening');
        // The way to leave a socket file behind without killing a process.
        await rename(udsPath, `${udsPath}.kept`);
        server.close();
        await once(server, 'close');
        await rename(`${udsPath}.kept`, udsPath);
        const dialer = new ScriptedDialer();
        await using bridge = await startTestBridge(dialer, { udsPath });
        expect(await dialThrough(bridge.peer, dialer)).not.toBe('0');
      });

      it('A Unix socket replaces neither a socket with a listener nor a file', async () => {
        const udsPath = join(directory, 'taken.sock');
        const dialer = new ScriptedDialer();
        await using bridge = await startTestBridge(dialer, { udsPath });
        await expect(startTestBridge(dialer, { udsPath })).rejects.toThrow(
          /another program listens/,
        );
        expect(await dialThrough(bridge.peer, dialer)).not.toBe('0');
        const file = join(directory, 'file.sock');
        await writeFile(file, 'precious');
        await expect(startTestBridge(dialer, { udsPath: file })).rejects.toThrow(/is not a socket/);
        expect((await stat(file)).size).toBe(8);
      });
    });

    describe('A client that vanishes', () => {
      it('A client that vanishes leaves no call behind', async () => {
        const dialer = new ScriptedDialer();
        await using bridge = await startTestBridge(dialer);
        const session = connectHttp2(`http://${bridge.address}`);
        session.on('error', () => {});
        new RawCall(session).stream.write(
          Buffer.from('000000001612140a03746370120d636c7573746572313a343433', 'hex').subarray(
            0,
            27,
          ),
        );
        session.destroy();
        await once(session, 'close');
        await expect.poll(() => bridge.metrics.read('grpc_connections')).toBe(0);
      });
    });
  });
}
