import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { readFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { SocketPump } from '../../../src/stream-io/node/socket-pump.ts';
import { StreamDuplex } from '../../../src/stream-io/node/stream-duplex.ts';
import { TunnelError } from '../../../src/tunnel/errors.ts';
import type { Stream } from '../../../src/tunnel/stream.ts';
import { sampleTarget } from '../../../testkit/link/linked-sessions.ts';
import { startMemoryTunnel } from '../../../testkit/link/memory-tunnel.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';

const mebibyte = 1024 * 1024;

function accept(stream: Stream, duplex: StreamDuplex): void {
  stream.accept();
  duplex.onOpened();
}

/**
 * A listener whose connections are pumped into streams, and the client of one connection. The
 * acceptor's end of the stream is a Duplex.
 */
async function pumpedClient(
  decide: (stream: Stream, duplex: StreamDuplex) => void = accept,
  head = '',
) {
  const accepted = Promise.withResolvers<StreamDuplex>();
  const tunnel = await startMemoryTunnel((_, stream) => {
    const duplex = new StreamDuplex();
    duplex.on('error', () => {});
    duplex.bind(stream);
    queueMicrotask(() => {
      decide(stream, duplex);
      accepted.resolve(duplex);
    });
    return duplex;
  });
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    sockets.push(socket);
    if (head !== '') socket.unshift(Buffer.from(head));
    const pump = new SocketPump(socket, { clock: systemClock });
    pump.bind(tunnel.dialer.open({ cluster: 'c1', target: sampleTarget }, pump));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  sockets.push(client);
  onTestFinished(async () => {
    for (const socket of sockets) socket.on('error', () => {}).destroy();
    server.close();
    await tunnel[Symbol.asyncDispose]();
  });
  await once(client, 'connect');
  const far = await accepted.promise;
  return { client, far, pumped: sockets.find((socket) => socket !== client)! };
}

describe('A socket pump of the end that opens streams', () => {
  it('The socket pump carries bytes both ways, and ends each direction by itself', async () => {
    const { client, far } = await pumpedClient();
    client.end('question');
    expect(await text(far)).toBe('question');
    far.write('ans');
    far.end('wer');
    expect(await text(client)).toBe('answer');
  });

  it('The socket pump loses no byte of a client that speaks before the stream is open', async () => {
    let open = (): void => {};
    const { client, far } = await pumpedClient((stream, duplex) => {
      open = () => accept(stream, duplex);
    });
    const bytes = Buffer.alloc(3 * mebibyte, 'x');
    client.end(bytes);
    await expect.poll(() => client.bytesWritten).toBe(bytes.length);
    open();
    expect((await text(far)).length).toBe(bytes.length);
  });

  it('The socket pump passes on bytes that a front has read before', async () => {
    const { client, far } = await pumpedClient(accept, 'read before, ');
    client.end('read later');
    expect(await text(far)).toBe('read before, read later');
  });

  it('The socket pump stalls a client whose bytes are not read at the other end, and continues when they are read', async () => {
    const { client, far, pumped } = await pumpedClient();
    const totalBytes = 64 * mebibyte;
    client.end(Buffer.alloc(totalBytes));
    let before = -1;
    // Nothing moves after the buffers are full.
    await expect
      .poll(
        () => {
          const isStill = pumped.bytesRead === before;
          before = pumped.bytesRead;
          return isStill && before > 0;
        },
        { interval: 100 },
      )
      .toBe(true);
    expect(pumped.bytesRead).toBeLessThan(4 * mebibyte);
    let receivedBytes = 0;
    for await (const piece of far) receivedBytes += (piece as Buffer).length;
    expect(receivedBytes).toBe(totalBytes);
  });

  it('The socket pump answers a reset of the stream with a RST', async () => {
    const { client, far } = await pumpedClient();
    const failed = once(client, 'error');
    client.resume();
    far.destroy(new TunnelError('target_reset', 'the target is gone'));
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
  });

  it('The socket pump resets the stream when its client sends a RST', async () => {
    const { client, far } = await pumpedClient();
    const failed = once(far, 'error');
    client.resetAndDestroy();
    expect((await failed)[0]).toMatchObject({
      code: 'reset',
      message: 'the connection broke off: read ECONNRESET',
    });
  });

  it('The socket pump resets the connection of a client whose dial is refused', async () => {
    let refuse = (): void => {};
    const { client } = await pumpedClient((stream) => {
      refuse = () => stream.reset(new TunnelError('refused', 'nobody listens'));
    });
    client.resume();
    const failed = once(client, 'error');
    refuse();
    expect((await failed)[0]).toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('A socket pump of a TLS connection', () => {
  it('The socket pump closes a TLS connection whose stream is cut, because Node resets only TCP', async () => {
    await using stack = new AsyncDisposableStack();
    const { server: files } = stack.use(await makeTestCertificates());
    const [ca, cert, key] = [files.ca, files.cert, files.key].map((file) => readFileSync(file));
    const accepted = Promise.withResolvers<Stream>();
    const tunnel = stack.use(
      await startMemoryTunnel((_, stream) => {
        const duplex = new StreamDuplex();
        duplex.on('error', () => {});
        duplex.bind(stream);
        queueMicrotask(() => {
          accept(stream, duplex);
          accepted.resolve(stream);
        });
        return duplex;
      }),
    );
    const server = createTlsServer({ cert: cert!, key: key! }, (socket) => {
      const pump = new SocketPump(socket, { clock: systemClock });
      pump.bind(tunnel.dialer.open({ cluster: 'c1', target: sampleTarget }, pump));
    });
    stack.defer(() => void server.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = connectTls({ host: '127.0.0.1', port, ca: ca! });
    stack.defer(() => void client.destroy());
    client.on('error', () => {});
    const ended = once(client, 'close');
    (await accepted.promise).reset(new TunnelError('cancelled', 'cut on purpose'));
    await ended;
    expect(client.destroyed).toBe(true);
  });
});
