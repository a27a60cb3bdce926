import { setImmediate as nextTurn } from 'node:timers/promises';
import { maxPayloadBytes } from '../../src/konnectivity/packet-buffer.ts';
import { describe, expect, it } from 'vitest';
import { acceptHttpConnect } from '../../src/konnectivity-bridge/http-connect.ts';
import { TunnelError, type TunnelErrorCode } from '../../src/tunnel/errors.ts';
import { MemoryLog } from '../addon/controllers/memory-log.ts';
import { MemoryClient } from './memory-client.ts';
import { ScriptedDialer, type ScriptedStream } from './scripted-dialer.ts';
import { testContext, type TestContext } from './test-context.ts';

const request = 'CONNECT cluster1:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';
const established = 'HTTP/1.1 200 Connection Established\r\n\r\n';

interface Scene {
  readonly dialer: ScriptedDialer;
  readonly context: TestContext;
  readonly log: MemoryLog;
  readonly client: MemoryClient;
}

function scene(cluster?: string): Scene {
  const dialer = new ScriptedDialer();
  const log = new MemoryLog();
  const context = testContext(dialer, { log, ...(cluster !== undefined && { cluster }) });
  return { dialer, context, log, client: new MemoryClient(acceptHttpConnect(context)) };
}

/** Enough turns for the bytes of one turn to be gathered, sent and taken. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 4; turns++) await nextTurn();
}

interface Open extends Scene {
  readonly stream: ScriptedStream;
}

/** A connection that is open, whose client has read the answer. */
async function open(): Promise<Open> {
  const s = scene();
  s.client.write(request);
  const stream = await s.dialer.next();
  stream.handler.onOpened!();
  await settled();
  s.client.write('hello');
  expect(s.client.received.splice(0)).toEqual([established]);
  expect(stream.written.splice(0).toString()).toBe('hello');
  return { ...s, stream };
}

describe('a CONNECT request', () => {
  it('A CONNECT request dials its target, whatever its Host field says', async () => {
    const { client, dialer, context } = scene();
    client.write(request);
    expect(await dialer.next()).toMatchObject({
      cluster: 'cluster1',
      target: { kind: 'tcp', host: 'cluster1', port: 443 },
    });
    expect(client.isAdmitted).toBe(true);
    expect(context.httpConnections.size).toBe(1);
    expect(context.pendingDials.size).toBe(1);
    expect(client.text).toBe('');
  });

  it.each([
    ['web.shop.svc.cluster1:80', 'cluster1', 'web.shop.svc', 80],
    ['cluster1.proxies:6443', 'cluster1', 'cluster1.proxies', 6443],
  ])('A CONNECT request may name %s', async (target, cluster, host, port) => {
    const { client, dialer } = scene();
    client.write(request.replace('cluster1:443', target));
    expect(await dialer.next()).toMatchObject({ cluster, target: { host, port } });
  });

  it.each(['10.0.0.7:10250', '[fd00::7]:10250'])(
    'A CONNECT request may name %s in single-cluster mode',
    async (target) => {
      const { client, dialer } = scene('only');
      client.write(request.replace('cluster1:443', target));
      const host = target.includes('fd00') ? 'fd00::7' : '10.0.0.7';
      expect(await dialer.next()).toMatchObject({ cluster: 'only', target: { host } });
    },
  );

  it('A CONNECT request may be split at every byte, and all early bytes reach the target', async () => {
    const whole = `${request}early bytes`;
    for (let at = 1; at < whole.length; at++) {
      const { client, dialer } = scene();
      client.write(whole.slice(0, at));
      client.write(whole.slice(at));
      const stream = await dialer.next();
      stream.handler.onOpened!();
      expect(stream.text, `split at ${at}`).toBe('early bytes');
    }
    const { client, dialer } = scene();
    for (const byte of whole) client.write(byte);
    const stream = await dialer.next();
    stream.handler.onOpened!();
    expect(stream.text).toBe('early bytes');
  });

  it('A client that sends much before the answer is paused, and nothing of it is lost', async () => {
    const { client, dialer } = scene();
    client.write(request);
    client.write('a'.repeat(60_000));
    expect(client.isPaused).toBe(false);
    client.write('b'.repeat(10_000));
    expect(client.isPaused).toBe(true);
    const stream = await dialer.next();
    stream.handler.onOpened!();
    expect(stream.text).toBe('a'.repeat(60_000) + 'b'.repeat(10_000));
    expect(client.isPaused).toBe(false);
  });
});

it('The early bytes of a client are kept in one piece, because it may send them one by one', async () => {
  const { client, dialer } = scene();
  client.write(request);
  for (let count = 0; count < 1_000; count++) client.write('x');
  const stream = await dialer.next();
  stream.handler.onOpened!();
  expect(stream.written.map(({ length }) => length)).toEqual([1_000]);
});

describe('the answer', () => {
  it('The answer 200 is sent alone, and bytes of the target are held until the client sends', async () => {
    const { client, dialer } = scene();
    client.write(request);
    const stream = await dialer.next();
    stream.handler.onOpened!();
    stream.arrive('banner');
    await settled();
    expect(client.received).toEqual([established]);
    expect(stream.consumedBytes).toBe(0);
    client.write('x');
    await settled();
    expect(client.received).toEqual([established, 'banner']);
    expect(stream.consumedBytes).toBe(6);
  });

  it('Bytes and FIN of a target that speaks first are held for holdMs', async () => {
    const { client, dialer, context } = scene();
    client.write(request);
    const stream = await dialer.next();
    stream.handler.onOpened!();
    stream.arrive('banner');
    stream.handler.onFin();
    context.clock.advanceSync(context.limits.holdMs - 1);
    await settled();
    expect(client.received).toEqual([established]);
    expect(client.isEnded).toBe(false);
    context.clock.advanceSync(1);
    await settled();
    expect(client.received).toEqual([established, 'banner']);
    expect(client.isEnded).toBe(true);
  });

  it('A client that sends first bytes during the hold gets those of a target that has closed both directions', async () => {
    const { client, dialer } = scene();
    client.write(request);
    const stream = await dialer.next();
    stream.handler.onOpened!();
    stream.arrive('banner');
    stream.handler.onFin();
    stream.handler.onClose(undefined);
    await settled();
    client.write('x');
    await settled();
    expect(client.received).toEqual([established, 'banner']);
    expect(client.isEnded).toBe(true);
    expect(client.isAborted).toBe(false);
  });

  it('A client that has sent bytes before the answer gets the target without a hold', async () => {
    const { client, dialer } = scene();
    client.write(`${request}GET`);
    const stream = await dialer.next();
    stream.handler.onOpened!();
    stream.arrive('reply');
    await settled();
    expect(client.received).toEqual([established, 'reply']);
  });

  it.each<[TunnelErrorCode, string, string]>([
    ['no_agent', '503 No agent available', 'No agent available'],
    ['refused', '502 dial tcp: refused', 'dial tcp: refused'],
    ['dns', '502 dial tcp: no such host', 'dial tcp: no such host'],
    ['unreachable', '502 no route', 'no route'],
    ['timeout', '504 i/o timeout', 'i/o timeout'],
    ['forbidden_target', '403 not in the list', 'not in the list'],
    ['forbidden', '403 not your cluster', 'not your cluster'],
    ['stream_limit', '503 too many streams', 'too many streams'],
    ['overloaded', '503 busy', 'busy'],
    ['agent_lost', '503 the agent is gone', 'the agent is gone'],
    ['internal', '502 oops: a\r\nb: c é', 'oops: a\r\nb: c é'],
  ])(
    'A dial that fails with %s is answered with the status, the cause and the code',
    async (code, status, text) => {
      const { client, dialer, context } = scene();
      client.write(request);
      const stream = await dialer.next();
      stream.handler.onClose(new TunnelError(code, text));
      await settled();
      const [head, body] = client.text.split(/\r\n\r\n(.*)/s);
      const lines = head!.split('\r\n');
      // Nothing of the message can become a line of the head.
      expect(lines[0]).toBe(`HTTP/1.1 ${status.replaceAll(/[^ -~]+/g, ' ').trim()}`);
      expect(lines.slice(1)).toEqual([
        'Content-Type: text/plain; charset=utf-8',
        `Content-Length: ${Buffer.byteLength(`${text}\n`)}`,
        'Connection: close',
        `Culvert-Error: ${code}`,
      ]);
      expect(Buffer.from(body!, 'latin1').toString()).toBe(`${text}\n`);
      expect(client.isEnded).toBe(true);
      expect(context.failures).toHaveLength(1);
    },
  );

  it('A dial without any answer is answered with 504', async () => {
    const { client, dialer, context } = scene();
    client.write(request);
    const stream = await dialer.next();
    context.clock.advanceSync(context.limits.dialTimeoutMs + context.limits.dialGraceMs);
    await settled();
    expect(client.text).toMatch(/^HTTP\/1\.1 504 timed out waiting for backend dial\r\n/);
    expect(client.text).toContain('\r\nCulvert-Error: timeout\r\n');
    expect(stream.resetBy?.code).toBe('timeout');
  });

  it('A name of no cluster is answered with 503 No agent available', async () => {
    const { client, dialer, context, log } = scene();
    client.write(request.replace('cluster1', 'web.example.com'));
    await settled();
    expect(client.text).toMatch(/^HTTP\/1\.1 503 No agent available\r\n/);
    expect(client.text).toContain('\r\nCulvert-Error: unknown_destination\r\n');
    expect(dialer.openedCount).toBe(0);
    expect(context.failures).toEqual(['no_agent']);
    expect(log.warnings).toEqual([]);
  });

  it('A refused client that does not close is closed after lingerMs', async () => {
    const { client, context } = scene();
    client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    client.write('more that nobody reads');
    context.clock.advanceSync(context.limits.lingerMs - 1);
    expect(client.isAborted).toBe(false);
    context.clock.advanceSync(1);
    expect(client.isAborted).toBe(true);
    await settled();
    expect(context.clock.pendingTimers).toBe(0);
  });
});

describe('bad input', () => {
  const fields = (lines: string) => `CONNECT cluster1:443 HTTP/1.1\r\n${lines}\r\n\r\n`;

  it.each([
    ['another method', 'GET / HTTP/1.1\r\nHost: a\r\n\r\n', 405, 'unsupported_method'],
    ['POST', 'POST /ProxyService/Proxy HTTP/1.1\r\nHost: a\r\n\r\n', 405, 'unsupported_method'],
    [
      'a lower case method',
      fields('Host: a').toLowerCase().replace('http', 'HTTP'),
      405,
      'unsupported_method',
    ],
    ['no version', 'CONNECT cluster1:443\r\nHost: a\r\n\r\n', 400, 'malformed_request'],
    [
      'another version',
      'CONNECT cluster1:443 HTTP/2.0\r\nHost: a\r\n\r\n',
      400,
      'malformed_request',
    ],
    ['two spaces', 'CONNECT  cluster1:443 HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'malformed_request'],
    ['a tab', 'CONNECT\tcluster1:443 HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'malformed_request'],
    [
      'a URL',
      'CONNECT https://cluster1:443/ HTTP/1.1\r\nHost: a\r\n\r\n',
      400,
      'malformed_request',
    ],
    ['a user', 'CONNECT u@cluster1:443 HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'malformed_request'],
    ['no port', 'CONNECT cluster1 HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'malformed_request'],
    ['port 0', 'CONNECT cluster1:0 HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'invalid_address'],
    ['port 65536', 'CONNECT cluster1:65536 HTTP/1.1\r\nHost: a\r\n\r\n', 400, 'invalid_address'],
    ['no Host', 'CONNECT cluster1:443 HTTP/1.1\r\n\r\n', 400, 'malformed_request'],
    ['two Hosts', fields('Host: a\r\nHost: b'), 400, 'malformed_request'],
    ['a folded field', fields('Host: a\r\n b'), 400, 'malformed_request'],
    ['a folded first field', fields(' x: y\r\nHost: a'), 400, 'malformed_request'],
    ['a space before the colon', fields('Host : a'), 400, 'malformed_request'],
    ['no colon', fields('Host: a\r\nnothing'), 400, 'malformed_request'],
    ['an empty name', fields('Host: a\r\n: x'), 400, 'malformed_request'],
    ['a NUL', fields('Host: a\0'), 400, 'malformed_request'],
    ['a bare LF', 'CONNECT cluster1:443 HTTP/1.1\nHost: a\n\n', 400, 'malformed_request'],
    ['a bare LF in a field', fields('Host: a\nX: b'), 400, 'malformed_request'],
    ['a bare CR', fields('Host: a\rX: b'), 400, 'malformed_request'],
    ['an empty first line', '\r\n\r\n', 400, 'malformed_request'],
    [
      'Transfer-Encoding',
      fields('Host: a\r\nTransfer-Encoding: chunked'),
      400,
      'malformed_request',
    ],
    ['a length', fields('Host: a\r\nContent-Length: 5'), 400, 'malformed_request'],
    [
      'two lengths',
      fields('Host: a\r\nContent-Length: 0\r\nContent-Length: 5'),
      400,
      'malformed_request',
    ],
    ['a long head', fields(`Host: a\r\nX: ${'x'.repeat(17_000)}`), 431, 'request_too_large'],
    ['101 fields', fields(`Host: a${'\r\nX: y'.repeat(100)}`), 431, 'request_too_large'],
  ])('A request with %s is refused, and one line names the peer', async (_, text, status, code) => {
    const { client, dialer, log } = scene();
    client.write(text);
    client.write('and what follows');
    await settled();
    expect(client.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} \\S`));
    expect(client.text).toContain(`\r\nCulvert-Error: ${code}\r\n`);
    expect(client.text.includes('\r\nAllow: CONNECT\r\n')).toBe(status === 405);
    expect(client.isEnded).toBe(true);
    expect(client.isAdmitted).toBe(false);
    expect(dialer.openedCount).toBe(0);
    expect(log.warnings).toHaveLength(1);
    expect(log.warnings[0]).toContain('192.0.2.7:50000');
  });

  it.each(['CONNECT cluster1:443 HTTP/1.1\n', 'CONNECT cluster1:443 HTTP/1.1\r\nHost: a\rX'])(
    'A line that ends with a bare LF or CR is refused at once',
    async (part) => {
      const { client } = scene();
      client.write(part);
      await settled();
      expect(client.text).toMatch(/^HTTP\/1\.1 400 /);
    },
  );

  it('A request of exactly the largest size is accepted', async () => {
    const { client, dialer } = scene();
    const filler = 16 * 1024 - fields('Host: a\r\nX: ').length;
    client.write(fields(`Host: a\r\nX: ${'x'.repeat(filler)}`));
    await dialer.next();
    expect(dialer.openedCount).toBe(1);
  });

  it('A request with 100 fields, HTTP/1.0 or a length of 0 is accepted', async () => {
    for (const text of [
      fields(`Host: a${'\r\nX: y'.repeat(99)}`),
      'CONNECT cluster1:443 HTTP/1.0\r\n\r\n',
      fields('Host:\tcluster1:443 \r\nContent-Length: 0\r\nProxy-Connection: Keep-Alive'),
    ]) {
      const { client, dialer } = scene();
      client.write(text);
      await dialer.next();
      expect(client.text).toBe('');
    }
  });

  it('A client that ends within its request is closed', async () => {
    const { client } = scene();
    client.write('CONNECT clus');
    client.finish();
    expect(client.isAborted).toBe(true);
  });
});

describe('the end of a connection', () => {
  it('A client that leaves before the answer cancels its dial', async () => {
    for (const leave of ['finish', 'close'] as const) {
      const { client, dialer, context } = scene();
      client.write(request);
      const stream = await dialer.next();
      client[leave]();
      await settled();
      expect(stream.resetBy?.code).toBe('cancelled');
      expect(context.failures).toEqual(['frontend_close']);
      expect(context.httpConnections.size + context.pendingDials.size).toBe(0);
      expect(context.clock.pendingTimers).toBe(0);
    }
  });

  it('A client that writes and finishes before the answer gets delivered and answered', async () => {
    const { client, dialer } = scene();
    client.write(`${request}GET`);
    client.finish();
    const stream = await dialer.next();
    expect(stream.resetBy).toBeUndefined();
    stream.handler.onOpened!();
    expect(stream.text).toBe('GET');
    expect(stream.isFinished).toBe(true);
    stream.arrive('reply');
    await settled();
    expect(client.text).toBe(`${established}reply`);
  });

  it('A client that finishes still gets the reply of its target (half-close)', async () => {
    const { client, stream, context } = await open();
    client.finish();
    expect(stream.isFinished).toBe(true);
    stream.arrive('late reply');
    stream.handler.onFin();
    stream.handler.onClose(undefined);
    await settled();
    expect(client.text).toBe('late reply');
    expect(client.isEnded).toBe(true);
    expect(client.isAborted).toBe(false);
    client.close();
    expect(stream.resetBy).toBeUndefined();
    expect(context.httpConnections.size + context.established.size).toBe(0);
    expect(context.clock.pendingTimers).toBe(0);
    expect(context.pool.inUseBytes).toBe(0);
  });

  it('A target that finishes still gets what its client writes (half-close)', async () => {
    const { client, stream } = await open();
    stream.arrive('last words');
    stream.handler.onFin();
    await settled();
    expect(client.text).toBe('last words');
    expect(client.isEnded).toBe(true);
    client.write('still here');
    expect(stream.text).toBe('still here');
    client.finish();
    expect(stream.isFinished).toBe(true);
    expect(stream.resetBy).toBeUndefined();
  });

  it('A target that is reset resets its client, which must not see a FIN', async () => {
    const { client, stream, context } = await open();
    stream.arrive('cut');
    stream.handler.onClose(new TunnelError('target_reset', 'connection reset by peer'));
    expect(client.isEnded).toBe(false);
    expect(client.isAborted).toBe(true);
    await settled();
    expect(context.httpConnections.size + context.established.size).toBe(0);
    expect(context.pool.inUseBytes).toBe(0);
  });

  it('A client that is reset resets its target', async () => {
    const { client, stream, context } = await open();
    client.close();
    expect(stream.resetBy?.code).toBe('reset');
    expect(stream.isFinished).toBe(false);
    await settled();
    expect(context.established.size).toBe(0);
  });

  it('A target gets everything of a client that writes, closes and is gone', async () => {
    const { client, stream, context } = await open();
    client.write('the whole upload');
    client.finish();
    client.close();
    expect(stream.resetBy).toBeUndefined();
    expect(stream.text).toBe('the whole upload');
    expect(stream.isFinished).toBe(true);
    expect(stream.isStopped).toBe(true);
    expect(context.flushing.size).toBe(1);
    stream.handler.onClose(undefined);
    expect(context.flushing.size).toBe(0);
    expect(context.clock.pendingTimers).toBe(0);
  });

  it('A client that writes after both directions of its target have ended is reset', async () => {
    const { client, stream } = await open();
    stream.arrive('bye');
    stream.handler.onFin();
    client.takes = false;
    stream.handler.onClose(undefined);
    await settled();
    client.write('nobody reads this');
    expect(client.isAborted).toBe(false);
    client.takeAll();
    expect(client.text).toBe('bye');
    client.write('nor this');
    expect(client.isAborted).toBe(true);
  });
});

describe('flow control', () => {
  it('A client whose target has no room is not read', async () => {
    const { client, stream } = await open();
    stream.hasRoom = false;
    client.write('a');
    expect(client.isPaused).toBe(true);
    stream.hasRoom = true;
    stream.handler.onWritable();
    expect(client.isPaused).toBe(false);
  });

  it('A client that does not read gets no more window for its target', async () => {
    const { client, stream, context } = await open();
    const { maxQueuedBytes } = context.limits;
    client.takes = false;
    let sent = 0;
    while (sent < maxQueuedBytes * 4) {
      stream.arrive(Buffer.alloc(32 * 1024, 1));
      sent += 32 * 1024;
      await settled();
    }
    expect(stream.consumedBytes).toBeLessThanOrEqual(maxQueuedBytes + 64 * 1024);
    client.takes = true;
    client.takeAll();
    await settled();
    client.takeAll();
    expect(client.text).toHaveLength(sent);
    expect(stream.consumedBytes).toBe(sent);
    expect(context.pool.inUseBytes).toBe(0);
  });

  it('The pieces of one turn become writes of at most 32 KiB', async () => {
    const { client, stream } = await open();
    for (let i = 0; i < 100; i++) stream.arrive(Buffer.alloc(1024, i));
    await settled();
    const rest = 100 * 1024 - 3 * maxPayloadBytes;
    expect(client.received.map((piece) => piece.length)).toEqual([
      ...Array.from({ length: 3 }, () => maxPayloadBytes),
      rest,
    ]);
    expect(client.text[99 * 1024]!.charCodeAt(0)).toBe(99);
  });
});

describe('the times of a connection', () => {
  it('A connection records how long it was open, dial not included, once both sides have ended', async () => {
    const s = scene();
    s.client.write(request);
    const stream = await s.dialer.next();
    await s.context.clock.advance(2_000);
    stream.handler.onOpened!();
    await s.context.clock.advance(7_000);
    s.client.write('hello');
    s.client.finish();
    s.client.close();
    expect(s.context.durationsSeconds).toEqual([]);
    await s.context.clock.advance(1_000);
    stream.handler.onClose(undefined);
    expect(s.context.durationsSeconds).toEqual([8]);
  });

  it('A dial that fails records no duration of a connection', async () => {
    const s = scene();
    s.client.write(request);
    const stream = await s.dialer.next();
    stream.handler.onClose(new TunnelError('refused', 'no listener'));
    expect(s.context.durationsSeconds).toEqual([]);
  });

  it('A connection records how long its first bytes took to leave the process, and then one of 64 writes', async () => {
    const { client, stream, context } = await open();
    client.takes = false;
    stream.arrive('slow');
    await settled();
    await context.clock.advance(300);
    expect(context.writesSeconds).toEqual([]);
    client.takeAll();
    client.takes = true;
    expect(context.writesSeconds).toEqual([0.3]);
    for (let writes = 0; writes < 64; writes++) {
      stream.arrive('x');
      await settled();
    }
    expect(context.writesSeconds).toEqual([0.3, 0]);
  });
});
