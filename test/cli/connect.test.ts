import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { ConnectListener } from '../../src/connect/connect-listener.ts';
import { readConnectOptions } from '../../src/connect/connect-options.ts';
import type { Dialer } from '../../src/dialer/dialer.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { MemoryLog } from '../addon/controllers/memory-log.ts';
import { FakeDialer } from '../konnectivity-bridge/fake-dialer.ts';
import { ScriptedDialer } from '../konnectivity-bridge/scripted-dialer.ts';
import { cli } from './captured-cli.ts';

const options = {
  cluster: 'cluster1',
  target: { host: 'db.shop.svc', port: 5432 },
  listen: { host: '127.0.0.1', port: 0 },
  maxConnections: 8,
};
const forever = new AbortController().signal;

async function listen(dialer: Dialer, { maxConnections = 8, log = silentLogger } = {}) {
  return await ConnectListener.open({ ...options, maxConnections }, { dialer, log });
}

function client({ address }: ConnectListener): Socket {
  const socket = connect({ ...address, allowHalfOpen: true });
  socket.on('error', () => {});
  return socket;
}

describe('the listener of culvert connect', () => {
  it('A connection reaches the target, and a client that finishes gets the whole reply', async () => {
    await using target = await startTarget({ mode: 'echo' });
    const dialer = FakeDialer.to({ host: '127.0.0.1', port: target.port });
    await using listener = await listen(dialer);
    const socket = client(listener);
    const bytes = Buffer.alloc(3_000_000, 'culvert');
    socket.end(bytes);
    expect((await buffer(socket)).equals(bytes)).toBe(true);
    expect(dialer.opened[0]!.resetBy).toBeUndefined();
  });

  it('A connection is dialed to the cluster and the target of the command line', async () => {
    const dialer = new ScriptedDialer();
    await using listener = await listen(dialer);
    client(listener);
    expect(await dialer.next()).toMatchObject({
      cluster: 'cluster1',
      target: { kind: 'tcp', host: 'db.shop.svc', port: 5432 },
    });
  });

  it('A connection whose dial fails is reset, and the log names the reason', async () => {
    const dialer = new ScriptedDialer();
    const log = new MemoryLog();
    await using listener = await listen(dialer, { log });
    const socket = client(listener);
    const stream = await dialer.next();
    stream.handler.onClose(new TunnelError('no_agent', 'no agent of cluster cluster1'));
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
    expect(log.warnings).toHaveLength(1);
    expect(log.warnings[0]).toMatch(
      /^no connection to the target .*"code":"no_agent".* no agent of cluster cluster1$/,
    );
  });

  it('A client that is reset resets its target', async () => {
    const dialer = new ScriptedDialer();
    await using listener = await listen(dialer);
    const socket = client(listener);
    const stream = await dialer.next();
    stream.handler.onOpened!();
    socket.write('x');
    await stream.until(({ text }) => text === 'x');
    socket.resetAndDestroy();
    await stream.until(({ resetBy }) => resetBy !== undefined);
    expect(stream.isFinished).toBe(false);
  });

  it('A connection beyond the limit is closed, and the others continue', async () => {
    await using target = await startTarget({ mode: 'echo' });
    const log = new MemoryLog();
    const dialer = FakeDialer.to({ host: '127.0.0.1', port: target.port });
    await using listener = await listen(dialer, { maxConnections: 1, log });
    const first = client(listener);
    first.write('a');
    await once(first, 'data');
    const second = connect(listener.address).on('error', () => {});
    second.resume();
    await once(second, 'close');
    expect(dialer.opened).toHaveLength(1);
    expect(log.warnings).toHaveLength(1);
    expect(log.warnings[0]).toContain('"limit":1');
    first.end('b');
    expect(String(await buffer(first))).toBe('b');
  });

  it('A draining listener takes no new connections and waits for the open ones', async () => {
    await using target = await startTarget({ mode: 'echo' });
    const dialer = FakeDialer.to({ host: '127.0.0.1', port: target.port });
    await using listener = await listen(dialer);
    const { address } = listener;
    const socket = client(listener);
    socket.write('a');
    await once(socket, 'data');
    let hasDrained = false;
    const drained = listener.drain(forever).then(() => (hasDrained = true));
    const late = connect(address);
    const [error] = (await once(late, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNREFUSED');
    expect(hasDrained).toBe(false);
    socket.end();
    await drained;
  });

  it('A draining listener resets open connections when its time is up', async () => {
    const dialer = new ScriptedDialer();
    await using listener = await listen(dialer);
    const socket = client(listener);
    const stream = await dialer.next();
    stream.handler.onOpened!();
    const limit = new AbortController();
    const drained = listener.drain(limit.signal);
    limit.abort();
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
    await drained;
  });
});

describe('the options of culvert connect', () => {
  const read = (...argv: string[]) =>
    readConnectOptions(['--broker-url=wss://b', '--listen=127.0.0.1:0', ...argv], {}).options;

  it('culvert connect takes cluster and target as arguments, before or after its options', () => {
    const expected = { cluster: 'prod-1', target: { host: 'db.shop.svc', port: 5432 } };
    expect(read('prod-1', 'db.shop.svc:5432')).toMatchObject(expected);
    expect(read('prod-1', '--max-connections', '3', 'db.shop.svc:5432')).toMatchObject(expected);
  });

  it('culvert connect names missing, malformed and unexpected arguments', async () => {
    const missing = await cli(['connect', '--broker-url=wss://b', '--listen=127.0.0.1:0']);
    expect(missing.code).toBe(2);
    expect(missing.stderr).toContain('CLUSTER is required (or CULVERT_CLUSTER)');
    expect(missing.stderr).toContain('TARGET is required (or CULVERT_TARGET)');
    const wrong = await cli([
      'connect',
      '--broker-url=wss://b',
      '--listen=127.0.0.1:0',
      'A_b',
      'db',
      'more',
    ]);
    expect(wrong.stderr).toContain('CLUSTER="A_b" is not a DNS label');
    expect(wrong.stderr).toContain('TARGET="db" needs a port');
    expect(wrong.stderr).toContain('unexpected argument "more"');
  });

  it('culvert connect listens on loopback only, unless --allow-remote is given', async () => {
    const argv = ['connect', '--broker-url=wss://b', '--listen=0.0.0.0:0', 'c', 'db:1'];
    const { code, stderr } = await cli(argv);
    expect(code).toBe(2);
    expect(stderr).toContain('--listen=0.0.0.0:0 can be reached from other machines');
    const { listen } = readConnectOptions([...argv.slice(1), '--allow-remote'], {}).options;
    expect(listen.host).toBe('0.0.0.0');
  });
});
