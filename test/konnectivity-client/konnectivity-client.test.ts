import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile, mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { describe, expect, it, vi } from 'vitest';
import {
  KonnectivityClient,
  type KonnectivityClientOptions,
} from '../../src/konnectivity-client/konnectivity-client.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FakeDialer } from '../konnectivity-bridge/fake-dialer.ts';
import { ScriptedDialer } from '../konnectivity-bridge/scripted-dialer.ts';
import { startTestBridge, type TestBridge } from '../konnectivity-bridge/test-bridge.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { patternAt, patternSha256 } from '../../testkit/stream/pattern.ts';
import {
  startTarget,
  targetBody,
  type TargetMode,
  type TestTarget,
} from '../../testkit/world/target.ts';

interface Scene extends AsyncDisposable {
  readonly target: TestTarget;
  readonly dialer: FakeDialer;
  readonly bridge: TestBridge;
  readonly client: KonnectivityClient;
}

async function scene(mode: TargetMode): Promise<Scene> {
  const target = await startTarget(mode);
  const dialer = FakeDialer.to({ host: '127.0.0.1', port: target.port });
  const bridge = await startTestBridge(dialer);
  const client = new KonnectivityClient({ address: bridge.address });
  return {
    target,
    dialer,
    bridge,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await bridge[Symbol.asyncDispose]();
      await target.close();
    },
  };
}

async function scripted(): Promise<
  { dialer: ScriptedDialer; bridge: TestBridge; client: KonnectivityClient } & AsyncDisposable
> {
  const dialer = new ScriptedDialer();
  const bridge = await startTestBridge(dialer);
  const client = new KonnectivityClient({ address: bridge.address });
  return {
    dialer,
    bridge,
    client,
    async [Symbol.asyncDispose]() {
      client.close();
      await bridge[Symbol.asyncDispose]();
    },
  };
}

async function* pattern(bytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes;) {
    const piece = patternAt(at, bytes - at);
    yield piece;
    at += piece.length;
  }
}

async function sha256(stream: Duplex): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of stream) hash.update(piece as Buffer);
  return hash.digest('hex');
}

describe('a connection', () => {
  it('A connection of the client carries HTTP', async () => {
    await using s = await scene({ mode: 'http' });
    const connection = await s.client.dial('cluster1:80');
    const agent = new Agent();
    agent.createConnection = () => connection;
    const sent = request({ agent, path: '/', host: 'cluster1' }).end();
    const [response] = await once(sent, 'response');
    expect(await text(response)).toBe(targetBody);
  });

  it('A connection of the client delivers all that was written before end', async () => {
    await using s = await scene({ mode: 'sink' });
    const connection = await s.client.dial('cluster1:80');
    await pipeline(pattern(16 * 1024 * 1024), connection);
    const [report] = await s.target.waitForReports(1);
    expect(report).toEqual({
      receivedBytes: 16 * 1024 * 1024,
      sha256: patternSha256(16 * 1024 * 1024),
      end: 'fin',
    });
  });

  it('A connection of the client delivers all that a target sends before it closes, also to a reader that starts late', async () => {
    await using s = await scene({ mode: 'source', bytes: 16 * 1024 * 1024, afterFirstByte: true });
    const connection = await s.client.dial('cluster1:80');
    connection.write('x');
    await once(connection, 'readable');
    expect(await sha256(connection)).toBe(patternSha256(16 * 1024 * 1024));
  });

  it('A connection of the client loses no byte of a target that speaks first', async () => {
    await using s = await scene({ mode: 'source', bytes: 1000 });
    const dials = Array.from({ length: 50 }, async () => {
      const connection = await s.client.dial('cluster1:80');
      return createHash('sha256')
        .update(await buffer(connection))
        .digest('hex');
    });
    expect(new Set(await Promise.all(dials))).toEqual(new Set([patternSha256(1000)]));
  });

  it('A connection of the client ends for both when the client ends it', async () => {
    await using s = await scene({ mode: 'echo' });
    const connection = await s.client.dial('cluster1:80');
    connection.resume().end('bye');
    await once(connection, 'close');
    const [report] = await s.target.waitForReports(1);
    expect(report).toMatchObject({ receivedBytes: 3, end: 'fin' });
    await expect.poll(() => s.bridge.metrics.read('grpc_connections')).toBe(0);
    await expect.poll(() => s.dialer.live.length).toBe(0);
  });

  it('A connection of the client resets the target when the client destroys it', async () => {
    await using s = await scene({ mode: 'echo' });
    const connection = await s.client.dial('cluster1:80');
    connection.destroy();
    await expect.poll(() => s.dialer.opened[0]?.resetBy?.code).toBe('reset');
    await s.target.waitForReports(1);
  });

  it('A connection of the client fails with the reason when the target resets it', async () => {
    await using s = await scripted();
    const dialing = s.client.dial('cluster1:80');
    const stream = await s.dialer.next();
    stream.handler.onOpened!();
    const connection = await dialing;
    connection.write('x');
    await stream.until(() => stream.text === 'x');
    const failed = once(connection, 'error');
    stream.handler.onClose(new TunnelError('target_reset', 'connection reset by peer'));
    expect((await failed)[0]).toMatchObject({ message: 'connection reset by peer' });
  });

  it('A connection of the client fails when the server goes away', async () => {
    await using s = await scene({ mode: 'echo' });
    const connection = await s.client.dial('cluster1:80');
    const failed = once(connection, 'error');
    await s.bridge.bridge.close();
    expect((await failed)[0]).toMatchObject({ message: 'tunnel closed' });
  });

  it('A connection of the client holds back a target that sends more than its reader takes', async () => {
    await using s = await scripted();
    const open = async () => {
      const dialing = s.client.dial('cluster1:80');
      const stream = await s.dialer.next();
      stream.handler.onOpened!();
      return { stream, connection: await dialing };
    };
    const { stream, connection } = await open();
    connection.write('x');
    await stream.until(() => stream.text === 'x');
    const megabyte = 1024 * 1024;
    for (let sent = 0; sent < 32 * megabyte; sent += 65_536) stream.arrive(Buffer.alloc(65_536));
    for (let i = 0; i < 10; i++) (await open()).connection.destroy();
    expect(stream.consumedBytes).toBeLessThan(8 * megabyte);
    expect(connection.readableLength).toBeLessThan(megabyte);
    connection.resume();
    await stream.until(() => stream.consumedBytes === 32 * megabyte);
  });
});

describe('dials', () => {
  it('Dials share one connection and do not disturb each other', async () => {
    await using s = await scene({ mode: 'echo' });
    const answers = Array.from({ length: 100 }, async (_, i) => {
      const connection = await s.client.dial('cluster1:80');
      connection.write(`number ${i}`);
      const [answer] = (await once(connection, 'data')) as [Buffer];
      connection.end();
      return answer.toString();
    });
    expect(await Promise.all(answers)).toEqual(
      Array.from({ length: 100 }, (_, i) => `number ${i}`),
    );
  });

  it('Dials that the server refuses fail with its text', async () => {
    await using s = await scripted();
    await expect(s.client.dial('10.0.0.1:443')).rejects.toThrow(
      expect.objectContaining({ reason: 'endpoint', message: 'No agent available' }),
    );
  });

  it('Dials that get no answer fail in time, and are cancelled at the server', async () => {
    await using s = await scripted();
    const dialing = s.client.dial('cluster1:443', { timeoutMs: 50 });
    const stream = await s.dialer.next();
    await expect(dialing).rejects.toThrow(
      expect.objectContaining({ reason: 'timeout', message: 'dial timeout, backstop' }),
    );
    await stream.until(() => stream.resetBy?.code === 'cancelled');
  });

  it('Dials are cancelled at the server when the signal aborts, before and after they are sent', async () => {
    await using s = await scripted();
    const abort = new AbortController();
    const dialing = s.client.dial('cluster1:443', { signal: abort.signal });
    const stream = await s.dialer.next();
    abort.abort(new Error('changed my mind'));
    await expect(dialing).rejects.toThrow(
      expect.objectContaining({
        reason: 'context',
        cause: expect.objectContaining({ message: 'changed my mind' }),
      }),
    );
    await stream.until(() => stream.resetBy?.code === 'cancelled');
    await expect(s.client.dial('cluster1:443', { signal: abort.signal })).rejects.toThrow(
      expect.objectContaining({ reason: 'context' }),
    );
  });

  it('Dials fail when the server goes away before it answers', async () => {
    await using s = await scripted();
    const dialing = s.client.dial('cluster1:443');
    await s.dialer.next();
    const [failed] = await Promise.allSettled([dialing, s.bridge.bridge.close()]);
    expect(failed).toMatchObject({ status: 'rejected', reason: { reason: 'tunnelclosed' } });
  });

  it('Dials fail when their client is closed before the answer', async () => {
    await using s = await scripted();
    const dialing = s.client.dial('cluster1:443');
    const stream = await s.dialer.next();
    s.client.close();
    await expect(dialing).rejects.toThrow(expect.objectContaining({ reason: 'tunnelclosed' }));
    await stream.until(() => stream.resetBy?.code === 'cancelled');
  });

  it('Dials of a closed client fail with tunnelclosed', async () => {
    const client = new KonnectivityClient({ address: '127.0.0.1:1' });
    client.close();
    await expect(client.dial('cluster1:443')).rejects.toMatchObject({
      name: 'DialError',
      reason: 'tunnelclosed',
    });
  });

  it('Dials fail with streamsetup without a server', async () => {
    const client = new KonnectivityClient({ address: 'unix:/does/not/exist.sock' });
    await expect(client.dial('cluster1:443')).rejects.toThrow(
      expect.objectContaining({ reason: 'streamsetup' }),
    );
    client.close();
  });

  it('Dials work again when the server is back', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-client-'));
    const udsPath = join(directory, 'bridge.sock');
    await using target = await startTarget({ mode: 'echo' });
    const dialer = FakeDialer.to({ host: '127.0.0.1', port: target.port });
    await using client = new KonnectivityClient({ address: `unix:${udsPath}` });
    for (let i = 0; i < 2; i++) {
      await using _ = await startTestBridge(dialer, { udsPath });
      // grpc-js waits a little before it tries a lost server again; dials fail meanwhile.
      const connection = await vi.waitFor(() => client.dial('cluster1:80'), 10_000);
      connection.resume().end('x');
      await once(connection, 'close');
    }
    expect(target.acceptedCount).toBe(2);
    await rm(directory, { recursive: true });
  });
});

describe('TLS', () => {
  it('A client with TLS checks the server’s certificate and presents its own', async () => {
    await using certificates = await makeTestCertificates();
    const { server, client: own } = certificates;
    await using target = await startTarget({ mode: 'echo' });
    await using bridge = await startTestBridge(
      FakeDialer.to({ host: '127.0.0.1', port: target.port }),
      {
        listen: { host: '127.0.0.1', port: 0 },
        tls: { certFile: server.cert, keyFile: server.key, clientCaFile: own.ca },
      },
    );
    const tls = {
      ca: await readFile(server.ca),
      cert: await readFile(own.cert),
      key: await readFile(own.key),
    };
    const dialWith = async (options: KonnectivityClientOptions): Promise<void> => {
      await using client = new KonnectivityClient(options);
      (await client.dial('cluster1:443')).destroy();
    };
    await dialWith({ address: bridge.address, tls: { ...tls, serverName: 'localhost' } });
    await expect(
      dialWith({ address: bridge.address, tls: { ...tls, serverName: 'example.com' } }),
    ).rejects.toThrow(expect.objectContaining({ reason: 'streamsetup' }));
    await expect(
      dialWith({
        address: bridge.address,
        tls: { ...tls, ca: await readFile(own.ca), serverName: 'localhost' },
      }),
    ).rejects.toThrow(expect.objectContaining({ reason: 'streamsetup' }));
  });
});
