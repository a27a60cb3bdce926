import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import type { OwnerOfBytes } from '../../src/base/net/send-queue.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { defaultTlsPolicy } from '../../src/base/tls/tls-policy.ts';
import type {
  ClientConnection,
  ClientConnectionHandler,
} from '../../src/konnectivity/client-connection.ts';
import { startFront } from '../../src/konnectivity/front-listener.ts';
import type { Front, FrontOptions } from '../../src/konnectivity/front.ts';
import { defaultBridgeLimits } from '../../src/konnectivity-bridge/options.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { endOf } from '../konnectivity-bridge/socket-end.ts';

const mib = 1024 * 1024;

/** A service's end of a connection. Records all events. */
class Accepted implements ClientConnectionHandler {
  readonly connection: ClientConnection;
  readonly events: string[] = [];
  readonly pieces: Buffer[] = [];
  #isInside = false;
  #waiters: (() => void)[] = [];

  constructor(connection: ClientConnection) {
    this.connection = connection;
  }

  get received(): Buffer {
    return Buffer.concat(this.pieces);
  }

  do(action: (connection: ClientConnection) => void): void {
    this.#isInside = true;
    action(this.connection);
    this.#isInside = false;
  }

  onData(bytes: Uint8Array): void {
    this.pieces.push(Buffer.from(bytes));
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

  async untilClosed(): Promise<void> {
    await this.until(() => this.events.at(-1) === 'close');
  }

  #record(event: string): void {
    this.events.push(this.#isInside ? `${event} inside a method` : event);
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

class Owner implements OwnerOfBytes {
  readonly told: string[] = [];

  onReleased(): void {
    this.told.push('released');
  }

  onAbandoned(): void {
    this.told.push('abandoned');
  }
}

interface Scene extends AsyncDisposable {
  readonly front: Front;
  readonly clock: VirtualClock;
  readonly next: () => Promise<Accepted>;
}

async function scene(options: Partial<FrontOptions> = {}): Promise<Scene> {
  const accepted: Accepted[] = [];
  const waiting: ((connection: Accepted) => void)[] = [];
  const accept = (connection: ClientConnection) => {
    const own = new Accepted(connection);
    const take = waiting.shift();
    if (take === undefined) accepted.push(own);
    else take(own);
    return own;
  };
  const clock = new VirtualClock();
  const front = await startFront({
    listen: { host: '127.0.0.1', port: 0 },
    limits: defaultBridgeLimits,
    clock,
    log: silentLogger,
    methods: new Map(),
    acceptHttp1: accept,
    acceptSocks5: accept,
    refuses: () => undefined,
    clientRefused: () => {},
    connectionClosed: () => {},
    ...options,
  });
  return {
    front,
    clock,
    next: async () => accepted.shift() ?? (await new Promise((resolve) => waiting.push(resolve))),
    [Symbol.asyncDispose]: () => front.close(),
  };
}

function dial({ front }: Scene): Socket {
  return connect({ port: portOf(front), host: '127.0.0.1', allowHalfOpen: true });
}

function portOf({ address }: Front): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}

async function pairOf(s: Scene, start = 'CONNECT a:1 HTTP/1.1\r\n\r\n') {
  const client = dial(s);
  client.write(start);
  const server = await s.next();
  await server.until(() => server.received.length >= start.length);
  return { client, server };
}

describe('A connection that does not speak HTTP/2', () => {
  it.each([
    ['HTTP/1', 'CONNECT a:1 HTTP/1.1\r\n\r\n'],
    ['SOCKS 5', '\x05\x01\x00'],
  ])('A connection of %s delivers its bytes from the first one on', async (_, start) => {
    await using s = await scene();
    const { client, server } = await pairOf(s, start);
    expect(server.received.toString()).toBe(start);
    expect(server.connection.peer).toBe(`127.0.0.1:${client.localPort}`);
    client.end();
    await server.until(() => server.events.includes('end'));
    server.do((connection) => connection.end());
    await server.untilClosed();
  });

  it('A connection whose first bytes come one by one loses none', async () => {
    await using s = await scene();
    const client = dial(s);
    client.setNoDelay(true);
    const start = 'PRIX / HTTP/1.1\r\n\r\n';
    for (const letter of start) {
      client.write(letter);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const server = await s.next();
    await server.until(() => server.received.length === start.length);
    expect(server.received.toString()).toBe(start);
    client.destroy();
  });

  it('A connection sends bytes in order, frees their memory and reports what is queued', async () => {
    await using s = await scene();
    const { client, server } = await pairOf(s);
    const owners: Owner[] = [];
    server.do((connection) => {
      for (let at = 0; at < 64; at++) {
        owners.push(new Owner());
        connection.send(Buffer.alloc(mib / 16, at), owners[at]);
      }
    });
    expect(server.connection.queuedBytes).toBe(4 * mib);
    server.do((connection) => connection.end());
    const { answer } = await endOf(client.end());
    expect(answer).toHaveLength(4 * mib);
    for (let at = 0; at < 64; at++) expect(answer[(at * mib) / 16]).toBe(at);
    await server.untilClosed();
    for (const { told } of owners) expect(told).toEqual(['released']);
    expect(server.connection.queuedBytes).toBe(0);
    expect(server.events).toContain('sent');
    expect(server.events.join()).not.toContain('inside');
  });

  it('A connection that ends its direction still receives, and the other way round', async () => {
    await using s = await scene();
    const { client, server } = await pairOf(s);
    client.on('data', () => {});
    server.do((connection) => connection.end());
    await once(client, 'end');
    client.write('after your end');
    await server.until(() => server.received.toString().endsWith('after your end'));
    client.end();
    await server.untilClosed();
    expect(server.events.slice(-2)).toEqual(['end', 'close']);

    const other = await pairOf(s);
    other.client.end();
    await other.server.until(() => other.server.events.includes('end'));
    other.server.do((connection) => {
      connection.send(Buffer.from('after your end'));
      connection.end();
    });
    expect((await endOf(other.client)).answer.toString()).toBe('after your end');
  });

  it('A paused connection holds its client back', async () => {
    await using s = await scene();
    const { client, server } = await pairOf(s);
    server.do((connection) => connection.pause());
    const sent = Buffer.alloc(32 * mib, 3);
    client.end(sent);
    const start = server.received.length;
    // More turns than a connection that reads would need.
    for (let turn = 0; turn < 2000; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(server.received.length - start).toBeLessThan(mib);
    expect(server.events).not.toContain('end');
    server.do((connection) => connection.resume());
    await server.until(() => server.events.includes('end'));
    expect(server.received.subarray(start)).toHaveLength(sent.length);
    client.destroy();
  });

  it('A connection that is aborted is reset, and tells the owners of lost bytes', async () => {
    await using s = await scene();
    const { client, server } = await pairOf(s);
    client.pause();
    const owners = Array.from({ length: 512 }, () => new Owner());
    server.do((connection) => {
      for (const owner of owners) connection.send(Buffer.alloc(mib / 16), owner);
    });
    await server.until(() => server.events.includes('sent'));
    server.do((connection) => {
      connection.abort();
      connection.abort();
    });
    client.resume();
    expect((await endOf(client)).error).toBe('ECONNRESET');
    await server.untilClosed();
    const told = owners.map((owner) => owner.told.join());
    expect(new Set(told)).toEqual(new Set(['released', 'abandoned']));
    const late = new Owner();
    server.do((connection) => {
      connection.send(Buffer.from('late'), late);
      connection.pause();
      connection.resume();
      connection.end();
    });
    expect(late.told).toEqual(['released']);
  });

  it('A connection that is not admitted is closed after the handshake timeout', async () => {
    await using s = await scene();
    const kept = await pairOf(s);
    kept.server.do((connection) => connection.admitted());
    const { client, server } = await pairOf(s);
    s.clock.advanceSync(defaultBridgeLimits.handshakeTimeoutMs);
    await server.untilClosed();
    expect(server.events).not.toContain('end');
    client.destroy();
    kept.client.write('still here');
    await kept.server.until(() => kept.server.received.toString().endsWith('still here'));
    kept.client.destroy();
  });

  it('A connection behind TLS knows the subject of its client', async () => {
    await using certificates = await makeTestCertificates();
    const { server: own, client: identity } = certificates;
    const read = (path: string) => readFile(path, 'utf8');
    const [cert, key, clientCa] = await Promise.all([own.cert, own.key, identity.ca].map(read));
    const tls = { cert: cert!, key: key!, clientCa: clientCa!, choice: defaultTlsPolicy };
    await using s = await scene({ tls });
    const client = connectTls({
      host: '127.0.0.1',
      servername: 'localhost',
      port: portOf(s.front),
      ca: await read(own.ca),
      cert: await read(identity.cert),
      key: await read(identity.key),
      ALPNProtocols: ['http/1.1'],
    });
    client.write('CONNECT a:1 HTTP/1.1\r\n\r\n');
    const server = await s.next();
    expect(server.connection.subject?.commonNames).toHaveLength(1);
    server.do((connection) => {
      connection.send(Buffer.alloc(mib, 1));
      connection.end();
    });
    expect((await endOf(client)).answer).toHaveLength(mib);
    await server.untilClosed();
  });
});
