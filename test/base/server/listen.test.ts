import { once } from 'node:events';
import { type AddressInfo, connect, createServer, Server } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { formatPeer } from '../../../src/base/net/format-peer.ts';
import { listenAt } from '../../../src/base/server/listen.ts';
import { RecordingLogger } from '../../../testkit/link/linked-sessions.ts';

function makeServer() {
  const peers: string[] = [];
  const server = createServer((socket) => {
    peers.push(formatPeer(socket));
    socket.end();
  });
  onTestFinished(() => void server.close());
  return { server, peers };
}

async function visit(host: string, port: number): Promise<string> {
  const socket = connect({ host, port });
  await once(socket, 'connect');
  const from = formatPeer({ remoteAddress: socket.localAddress, remotePort: socket.localPort });
  socket.resume();
  await once(socket, 'close');
  return from;
}

it('A listener at [::] accepts IPv6 and IPv4, and shows each peer with its own address', async () => {
  const { server, peers } = makeServer();
  const log = new RecordingLogger();
  await listenAt(server, { host: '::', port: 0 }, log);
  const { port } = server.address() as AddressInfo;
  const visitors = [await visit('127.0.0.1', port), await visit('::1', port)];
  expect(peers).toEqual(visitors);
  expect(peers[0]).toMatch(/^127\.0\.0\.1:\d+$/);
  expect(peers[1]).toMatch(/^\[::1\]:\d+$/);
  expect(log.lines).toEqual([]);
});

/** A server on a machine without IPv6. */
class ServerWithoutIpv6 extends Server {
  readonly #code: string;

  constructor(code: string) {
    super((socket) => socket.end());
    this.#code = code;
    onTestFinished(() => void this.close());
  }

  override listen(...args: unknown[]): this {
    if (args[1] === '0.0.0.0') return super.listen(...(args as [number, string]));
    const code = this.#code;
    process.nextTick(() =>
      this.emit('error', Object.assign(new Error(`listen ${code}`), { code })),
    );
    return this;
  }
}

it.each(['EAFNOSUPPORT', 'EADDRNOTAVAIL'])(
  'A listener at [::] uses every IPv4 address on a machine without IPv6 (%s), with a warning',
  async (code) => {
    const server = new ServerWithoutIpv6(code);
    const log = new RecordingLogger();
    await listenAt(server, { host: '::', port: 0 }, log);
    const { address, port } = server.address() as AddressInfo;
    expect(address).toBe('0.0.0.0');
    expect(await visit('127.0.0.1', port)).toContain('127.0.0.1');
    expect(log.lines).toMatchObject([{ event: 'IPv6 is not available, listening on IPv4 only' }]);
  },
);

it('A listener does not replace any other IPv6 address with IPv4', async () => {
  const server = new ServerWithoutIpv6('EADDRNOTAVAIL');
  const listening = listenAt(server, { host: '::1', port: 0 }, new RecordingLogger());
  await expect(listening).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
});

it('A listener at [::] reports a port in use, and does not try IPv4 alone', async () => {
  const log = new RecordingLogger();
  const first = makeServer().server;
  await listenAt(first, { host: '::', port: 0 }, log);
  const { port } = first.address() as AddressInfo;
  const listening = listenAt(makeServer().server, { host: '::', port }, log);
  await expect(listening).rejects.toMatchObject({ code: 'EADDRINUSE' });
});
