import { once } from 'node:events';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { startTarget } from '../../testkit/world/target.ts';
import { FakeDialer } from './fake-dialer.ts';
import { ProxyPeer } from './proxy-peer.ts';
import { ScriptedDialer } from './scripted-dialer.ts';
import { startTestBridge } from './test-bridge.ts';

const forever = new AbortController().signal;

describe('draining', () => {
  it('A draining bridge takes no new calls, lets open calls continue, and ends with the last call', async () => {
    await using target = await startTarget({ mode: 'echo' });
    await using bridge = await startTestBridge(
      FakeDialer.to({ host: '127.0.0.1', port: target.port }),
    );
    const call = bridge.peer.call();
    call.dial('cluster1:443');
    const id = await call.opened();
    const drained = bridge.bridge.drain(forever);
    using late = new ProxyPeer(bridge.address);
    expect((await late.call().status).code).toBe(14);
    expect((await bridge.peer.call().status).code).toBe(14);
    for (let i = 0; i < 50; i++) {
      call.data(id, Buffer.alloc(50_000, i));
      expect((await call.read(50_000))[49_999]).toBe(i);
    }
    call.close(id);
    await call.expect('CLOSE_RSP');
    await drained;
    expect(bridge.metrics.read('grpc_connections')).toBe(0);
  });

  it('A draining bridge lets open connections of HTTP CONNECT and SOCKS 5 continue, and waits for them', async () => {
    await using target = await startTarget({ mode: 'echo' });
    const listen = { host: '127.0.0.1', port: 0 };
    await using bridge = await startTestBridge(
      FakeDialer.to({ host: '127.0.0.1', port: target.port }),
      { listen, socks5: { listen, requiresToken: false } },
    );
    const open = async (address: string, request: string | Uint8Array) => {
      const [, port] = address.split(':');
      const socket = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true });
      socket.write(request);
      await once(socket, 'data');
      return socket;
    };
    const [http, socks] = bridge.bridge.addresses;
    const socksRequest = Buffer.of(5, 1, 0, 3, 2, ...Buffer.from('c1'), 1, 187);
    const first = await open(http!, 'CONNECT c1:443 HTTP/1.1\r\nHost: c1\r\n\r\n');
    const second = await open(socks!, Buffer.of(5, 1, 0));
    second.write(socksRequest);
    await once(second, 'data');
    expect(bridge.metrics.read('http_connections')).toBe(1);
    expect(bridge.metrics.read('socks_connections')).toBe(1);
    let hasDrained = false;
    const drained = bridge.bridge.drain(forever).then(() => (hasDrained = true));
    for (const socket of [first, second]) {
      expect(hasDrained).toBe(false);
      socket.end('still served');
      expect(String(await buffer(socket))).toBe('still served');
    }
    await drained;
    expect(bridge.metrics.read('http_connections')).toBe(0);
    expect(bridge.metrics.read('socks_connections')).toBe(0);
  });

  it('A draining bridge waits until the bytes of a closed client are delivered', async () => {
    const dialer = new ScriptedDialer();
    await using bridge = await startTestBridge(dialer);
    const call = bridge.peer.call();
    call.dial('cluster1:443');
    const stream = await dialer.next();
    stream.handler.onOpened!();
    call.close(await call.opened());
    await call.status;
    let hasDrained = false;
    const drained = bridge.bridge.drain(forever).then(() => (hasDrained = true));
    await expect.poll(() => bridge.metrics.read('grpc_connections')).toBe(0);
    expect(hasDrained).toBe(false);
    stream.handler.onClose(undefined);
    await drained;
  });

  it('A draining bridge resets open connections when its time is up', async () => {
    const dialer = new ScriptedDialer();
    await using bridge = await startTestBridge(dialer);
    const [open, dialing, closing] = [bridge.peer.call(), bridge.peer.call(), bridge.peer.call()];
    open.dial('cluster1:443');
    const first = await dialer.next();
    first.handler.onOpened!();
    await open.opened();
    dialing.dial('cluster1:443');
    const second = await dialer.next();
    closing.dial('cluster1:443');
    const third = await dialer.next();
    third.handler.onOpened!();
    closing.close(await closing.opened());
    await closing.status;
    const limit = new AbortController();
    const drained = bridge.bridge.drain(limit.signal);
    expect(first.resetBy).toBeUndefined();
    limit.abort();
    await drained;
    await expect.poll(() => first.resetBy?.code).toBe('reset');
    await expect.poll(() => second.resetBy?.code).toBe('cancelled');
    expect(third.resetBy?.code).toBe('draining');
    expect((await open.status).code).not.toBe(0);
  });

  it('A draining bridge ends at once when no call is open, even with an idle connection', async () => {
    await using bridge = await startTestBridge(new ScriptedDialer());
    const call = bridge.peer.call();
    call.dial('nowhere');
    await call.status;
    await bridge.bridge.drain(forever);
    await bridge.bridge.close();
    expect(bridge.metrics.read('grpc_connections')).toBe(0);
  });
});

describe('starting', () => {
  it('A bridge needs an address to listen on', async () => {
    await expect(startTestBridge(new ScriptedDialer(), {})).rejects.toThrow(
      expect.objectContaining({ code: 'invalid_options' }),
    );
  });

  it('A bridge closes its first listener when the second one fails', async () => {
    const dialer = new ScriptedDialer();
    const options = {
      listen: { host: '127.0.0.1', port: 0 },
      udsPath: '/does/not/exist/bridge.sock',
    };
    await expect(startTestBridge(dialer, options)).rejects.toThrow(
      expect.objectContaining({ code: 'listen_failed' }),
    );
  });

  it('A bridge sends every destination to the one cluster in single-cluster mode', async () => {
    const dialer = new ScriptedDialer();
    await using bridge = await startTestBridge(dialer, {
      listen: { host: '127.0.0.1', port: 0 },
      cluster: 'only',
    });
    bridge.peer.call().dial('10.0.0.7:10250');
    expect(await dialer.next()).toMatchObject({
      cluster: 'only',
      target: { host: '10.0.0.7', port: 10_250 },
    });
  });
});
