import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:http2';
import { connect } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger, type Logger } from '../../src/base/log/logger.ts';
import { defaultTlsPolicy } from '../../src/base/tls/tls-policy.ts';
import {
  type AcceptCall,
  type Front,
  type FrontHandler,
  type FrontOptions,
  type FrontStream,
  GrpcStatus,
  type StartFront,
} from '../../src/konnectivity/front.ts';
import type { OwnerOfBytes } from '../../src/base/net/send-queue.ts';
import { defaultBridgeLimits } from '../../src/konnectivity-bridge/options.ts';
import { endOf } from '../konnectivity-bridge/socket-end.ts';
import { connectRaw, RawCall } from '../konnectivity-bridge/raw-call.ts';
import { type CertificateFiles, makeTestCertificates } from '../../testkit/world/certificates.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';

const kib = 1024;
const mib = 1024 * kib;

/** A call as the bridge sees it. Records all events of the front. */
class AcceptedCall implements FrontHandler {
  readonly stream: FrontStream;
  readonly events: string[] = [];
  readonly pieces: Buffer[] = [];
  receivedBytes = 0;
  /** Whether a method of the stream runs at the moment. The front must not call a handler then. */
  #isInside = false;
  #waiters: (() => void)[] = [];

  constructor(stream: FrontStream) {
    this.stream = stream;
  }

  get received(): Buffer {
    return Buffer.concat(this.pieces);
  }

  do(action: (stream: FrontStream) => void): void {
    this.#isInside = true;
    action(this.stream);
    this.#isInside = false;
  }

  onData(bytes: Uint8Array): void {
    this.pieces.push(Buffer.from(bytes));
    this.receivedBytes += bytes.length;
    this.#record('data');
  }

  onSent(): void {
    this.#record('sent');
  }

  onEnd(): void {
    this.#record('end');
  }

  onClose(): void {
    this.#record('close');
  }

  async until(isReached: () => boolean): Promise<void> {
    while (!isReached()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  count(event: string): number {
    return this.events.filter((recorded) => recorded === event).length;
  }

  #record(event: string): void {
    this.events.push(this.#isInside ? `${event} inside a method` : event);
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

/** Overwrites its memory as soon as it may, as the bridge's pool does. */
class Owner implements OwnerOfBytes {
  readonly bytes: Buffer;
  readonly told: string[] = [];

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  onReleased(): void {
    this.told.push('released');
    this.bytes.fill(0xee);
  }

  onAbandoned(): void {
    this.told.push('abandoned');
  }
}

interface Scene extends AsyncDisposable {
  readonly front: Front;
  /** The next call that the front accepts. */
  readonly next: () => Promise<AcceptedCall>;
}

/** What every `Front` promises to the bridge. Clients speak node:http2 and literal bytes. */
export function describeFront(name: string, startFront: StartFront): void {
  async function scene(options: Partial<FrontOptions> = {}): Promise<Scene> {
    const calls: AcceptedCall[] = [];
    const waiting: ((call: AcceptedCall) => void)[] = [];
    const accept: AcceptCall = (stream) => {
      const call = new AcceptedCall(stream);
      const take = waiting.shift();
      if (take === undefined) calls.push(call);
      else take(call);
      return call;
    };
    const front = await startFront({
      listen: { host: '127.0.0.1', port: 0 },
      limits: defaultBridgeLimits,
      clock: systemClock,
      log: silentLogger,
      clientRefused: () => {},
      connectionClosed: () => {},
      refuses: () => undefined,
      ...options,
      methods: new Map([['/ProxyService/Proxy', accept]]),
    });
    return {
      front,
      next: async () => calls.shift() ?? (await new Promise((resolve) => waiting.push(resolve))),
      [Symbol.asyncDispose]: () => front.close(),
    };
  }

  /** A client's call and the bridge's end of it. */
  async function callOf({ front, next }: Scene, session = connectRaw(front.address)) {
    const client = new RawCall(session);
    return { session, client, call: await next() };
  }

  describe(`front: ${name}`, () => {
    describe('A call of a front', () => {
      it('A call delivers the bytes of its client in order', async () => {
        await using s = await scene();
        const { client, call } = await callOf(s);
        const sent = Buffer.concat([patternAt(0, mib), patternAt(mib, mib)]);
        client.stream.end(sent);
        await call.until(() => call.count('end') === 1);
        expect(call.received.equals(sent)).toBe(true);
        expect(call.events.at(-1)).toBe('end');
      });

      it('A call sends its head with the first bytes, as servers of grpc-go do it', async () => {
        await using s = await scene();
        const { session, client, call } = await callOf(s);
        let hasHead = false;
        client.stream.once('response', () => (hasHead = true));
        await new Promise<void>((resolve) => session.ping(() => resolve()));
        expect(hasHead).toBe(false);
        call.do((stream) => stream.send(Buffer.from('x')));
        await client.receive(1);
        expect(hasHead).toBe(true);
      });

      it('A call sends bytes in order and tells every owner once that its memory is free', async () => {
        await using s = await scene();
        const { client, call } = await callOf(s);
        const owners: Owner[] = [];
        for (let at = 0; at < 2 * mib; at += owners.at(-1)!.bytes.length) {
          owners.push(new Owner(Buffer.from(patternAt(at, 64 * kib))));
        }
        const sent = Buffer.concat(owners.map(({ bytes }) => bytes));
        for (const owner of owners) call.do((stream) => stream.send(owner.bytes, owner));
        expect((await client.receive(sent.length)).equals(sent)).toBe(true);
        await call.until(() => call.stream.queuedBytes === 0);
        expect(call.stream.queuedPackets).toBe(0);
        for (const { told } of owners) expect(told).toEqual(['released']);
        expect(new Set(call.events)).toEqual(new Set(['sent']));
      });

      it('A call counts the bytes and packets that a client has not taken', async () => {
        await using s = await scene();
        const { client, call } = await callOf(s);
        client.stream.pause();
        call.do((stream) => stream.send(Buffer.alloc(1000)));
        call.do((stream) => stream.send(Buffer.alloc(500)));
        expect(call.stream.queuedBytes).toBe(1500);
        expect(call.stream.queuedPackets).toBe(2);
        for (let i = 0; i < 64; i++) call.do((stream) => stream.send(Buffer.alloc(64 * kib)));
        await call.until(() => call.count('sent') > 0);
        expect(call.stream.queuedBytes).toBeGreaterThan(mib);
        client.stream.resume();
        await call.until(() => call.stream.queuedBytes === 0);
        expect(call.stream.queuedPackets).toBe(0);
      });

      it('A paused call holds its client back and loses no byte', async () => {
        await using s = await scene();
        const { client, call } = await callOf(s);
        const total = 8 * mib;
        call.do((stream) => stream.pause());
        const pattern = Buffer.concat(
          Array.from({ length: total / (64 * kib) }, (_, i) =>
            Buffer.from(patternAt(i * 64 * kib, 64 * kib)),
          ),
        );
        client.stream.end(pattern);
        await untilStalled(client);
        // The window of one call, and what had been read before.
        expect(call.receivedBytes).toBeLessThan(2 * mib);
        expect(call.count('end')).toBe(0);
        call.do((stream) => stream.resume());
        await call.until(() => call.count('end') === 1);
        expect(call.received.equals(pattern)).toBe(true);
      });

      it('A call ends with its status in the trailers, after all sent bytes', async () => {
        await using s = await scene();
        const { client, call } = await callOf(s);
        const trailers = once(client.stream, 'trailers');
        call.do((stream) => stream.send(Buffer.alloc(300 * kib, 7)));
        call.do((stream) => stream.end(GrpcStatus.resourceExhausted, 'too much: 100 %'));
        call.do((stream) => stream.end(GrpcStatus.internal, 'ignored'));
        expect((await trailers)[0]).toMatchObject({
          'grpc-status': '8',
          'grpc-message': encodeURIComponent('too much: 100 %'),
        });
        expect(client.received).toHaveLength(300 * kib);
      });

      it('A call that has ended delivers nothing more of its client, except the close', async () => {
        await using s = await scene();
        const { client, call } = await callOf(s);
        client.stream.write('first');
        await call.until(() => call.receivedBytes === 5);
        call.do((stream) => stream.end(GrpcStatus.ok));
        client.stream.end('late');
        await call.until(() => call.count('close') === 1);
        expect(call.received.toString()).toBe('first');
        expect(call.events).toEqual(['data', 'close']);
      });

      it('A call that has ended frees sent bytes at once and ignores every method', async () => {
        await using s = await scene();
        const { client, call } = await callOf(s);
        call.do((stream) => stream.end(GrpcStatus.ok));
        client.stream.end();
        await call.until(() => call.count('close') === 1);
        const owner = new Owner(Buffer.from('late'));
        call.do((stream) => {
          stream.send(owner.bytes, owner);
          stream.pause();
          stream.resume();
          stream.end(GrpcStatus.internal);
          stream.abort();
        });
        expect(owner.told).toEqual(['released']);
        expect(call.stream.queuedBytes).toBe(0);
        await client.closed;
        expect(client.received).toHaveLength(0);
        expect(call.count('close')).toBe(1);
      });

      it('A call that is aborted is reset with CANCEL and closes once', async () => {
        await using s = await scene();
        const { client, call } = await callOf(s);
        call.do((stream) => stream.abort());
        call.do((stream) => stream.abort());
        expect(await client.closed).toBe(constants.NGHTTP2_CANCEL);
        await call.until(() => call.count('close') > 0);
        expect(call.count('close')).toBe(1);
        expect(call.events.at(-1)).toBe('close');
      });

      it.each([
        ['cancels it', (client: RawCall) => client.stream.close(constants.NGHTTP2_CANCEL)],
        ['vanishes', (client: RawCall) => client.stream.session!.destroy()],
      ])(
        'A call whose client %s while packets are queued closes and tells every owner once',
        async (_, leave) => {
          await using s = await scene();
          const { client, call } = await callOf(s);
          client.stream.pause();
          // The client's window is a little smaller than 64 KiB.
          const owners = Array.from({ length: 256 }, () => new Owner(Buffer.alloc(16 * kib, 5)));
          for (const owner of owners) call.do((stream) => stream.send(owner.bytes, owner));
          await call.until(() => call.count('sent') > 0);
          leave(client);
          await call.until(() => call.count('close') === 1);
          // Before that, failed writes are still reported.
          await s.front.close();
          expect(call.events.at(-1)).toBe('close');
          const tellings = owners.map(({ told }) => told.join());
          expect(new Set(tellings)).toEqual(new Set(['released', 'abandoned']));
          // In order: nothing is released behind bytes that are lost.
          expect(tellings.lastIndexOf('released')).toBeLessThan(tellings.indexOf('abandoned'));
        },
      );

      it('A call knows its client by address, and over TLS also by name', async () => {
        await using s = await scene();
        const { session, call } = await callOf(s);
        const { localPort } = session.socket;
        expect(call.stream.peer).toBe(`127.0.0.1:${localPort}`);
        await using certificates = await makeTestCertificates();
        await using secure = await scene({
          tls: await materialOf(certificates.server, certificates.client.ca),
        });
        const socket = await secureConnect(
          secure.front,
          certificates.server.ca,
          certificates.client,
        );
        const named = await callOf(secure, connectRaw(secure.front.address, socket));
        const name = new RegExp(`^.+ \\(127\\.0\\.0\\.1:${socket.localPort}\\)$`);
        expect(named.call.stream.peer).toMatch(name);
      });
    });

    describe('The listener of a front', () => {
      it('A front that takes no more calls lets open calls continue and refuses new ones', async () => {
        await using s = await scene();
        const { session, client, call } = await callOf(s);
        s.front.stopAccepting();
        s.front.stopAccepting();
        await once(session, 'goaway');
        client.stream.write('still here');
        await call.until(() => call.receivedBytes === 10);
        call.do((stream) => stream.send(Buffer.from('so are we')));
        expect((await client.receive(9)).toString()).toBe('so are we');
        const { error } = await endOf(connect(portOf(s.front), '127.0.0.1'));
        expect(error).toBe('ECONNREFUSED');
      });

      it('A front that closes ends open calls and its listener', async () => {
        await using s = await scene();
        const { session, client, call } = await callOf(s);
        client.stream.pause();
        for (let i = 0; i < 128; i++) call.do((stream) => stream.send(Buffer.alloc(64 * kib)));
        const closed = once(session, 'close');
        await Promise.all([s.front.close(), s.front.close()]);
        await closed;
        await call.until(() => call.count('close') === 1);
        const { error } = await endOf(connect(portOf(s.front), '127.0.0.1'));
        expect(error).toBe('ECONNREFUSED');
      });

      it('A front without a service for HTTP/1 answers 501, and warns once', async () => {
        const warnings: (LogFields | undefined)[] = [];
        const log: Logger = {
          ...silentLogger,
          child: () => log,
          warn: (_, fields) => void warnings.push(fields),
        };
        await using s = await scene({ log });
        for (let count = 0; count < 2; count++) {
          const socket = connect(portOf(s.front), '127.0.0.1');
          socket.write('CONNECT 10.77.0.10:9443 HTTP/1.1\r\nHost: 10.77.0.10:9443\r\n\r\n');
          const { answer } = await endOf(socket);
          expect(answer.toString()).toMatch(/^HTTP\/1\.1 501 .*gRPC over HTTP\/2 only/s);
        }
        expect(warnings).toHaveLength(1);
      });

      it('A front uses new TLS files for later handshakes and keeps established connections', async () => {
        await using certificates = await makeTestCertificates();
        const { server, client, serverAuthority } = certificates;
        const tls = await materialOf(server, client.ca);
        await using s = await scene({ tls });
        const before = await secureConnect(s.front, server.ca, client);
        using session = connectRaw(s.front.address, before);
        const old = new RawCall(session);
        const call = await s.next();
        const renewed = await serverAuthority.issue({ name: 'renewed', usage: 'server' });
        s.front.setTls(await materialOf(renewed, client.ca));
        const after = await secureConnect(s.front, server.ca, client);
        expect(before.getPeerCertificate().fingerprint256).not.toBe(
          after.getPeerCertificate().fingerprint256,
        );
        expect(after.getPeerCertificate().subject.CN).toBe('renewed');
        after.destroy();
        call.do((stream) => stream.send(Buffer.from('as before')));
        expect((await old.receive(9)).toString()).toBe('as before');
      });
    });
  });
}

/** Resolves when the client cannot send more: its queue stays the same over several round trips. */
async function untilStalled({ stream }: RawCall): Promise<void> {
  let queuedBytes = -1;
  for (let unchanged = 0; unchanged < 5; unchanged++) {
    await new Promise((resolve) => stream.session!.ping(resolve));
    if (stream.writableLength !== queuedBytes) unchanged = 0;
    queuedBytes = stream.writableLength;
  }
}

function portOf({ address }: Front): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

async function materialOf({ cert, key }: CertificateFiles, clientCaFile: string) {
  const [certPem, keyPem, clientCa] = await Promise.all(
    [cert, key, clientCaFile].map((path) => readFile(path, 'utf8')),
  );
  return { cert: certPem!, key: keyPem!, clientCa: clientCa!, choice: defaultTlsPolicy };
}

async function secureConnect(
  front: Front,
  caFile: string,
  { cert, key }: CertificateFiles,
): Promise<TLSSocket> {
  const socket = connectTls({
    host: '127.0.0.1',
    servername: 'localhost',
    port: portOf(front),
    ca: await readFile(caFile),
    cert: await readFile(cert),
    key: await readFile(key),
    ALPNProtocols: ['h2'],
  });
  await once(socket, 'secureConnect');
  return socket;
}
