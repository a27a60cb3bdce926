import type { Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { HttpRequestHead } from '../../../src/http-exchange/http-exchange.ts';
import { TunnelError } from '../../../src/tunnel/errors.ts';
import { AgentWorld, type AwaitedExchange } from './agent-world.ts';

let onConnection: (socket: Socket) => void;
let world: AgentWorld;

beforeAll(async () => {
  const accept = (socket: Socket): void => {
    socket.on('error', () => {});
    onConnection(socket);
  };
  world = await AgentWorld.start(undefined, accept, {}, true);
});

afterAll(() => world[Symbol.asyncDispose]());

/** The server answers each request with these bytes; an end follows if `ends`. */
function answerWith(text: string, ends = false): void {
  onConnection = (socket) => {
    socket.on('data', () => {
      socket.write(text, 'latin1');
      if (ends) socket.end();
    });
    socket.on('end', () => socket.end());
  };
}

/** Each test has a Service of its own, so that no idle connection of another test is used. */
let testCount = 0;

beforeEach(() => void testCount++);

function open(head: Partial<HttpRequestHead> = {}): AwaitedExchange {
  const port = String(world.servicePort);
  const name = `web-${testCount}`;
  const server = { kind: 'service', scheme: 'http', namespace: 'shop', name, port } as const;
  return world.open(head, { server });
}

const upgrade = [
  ['Connection', 'Upgrade'],
  ['Upgrade', 'SPDY/3.1'],
] as const;

describe('A server that breaks HTTP', () => {
  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n'],
    ['an unrequested 101', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n'],
    [
      'a length and chunks',
      'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd'],
    ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc'],
    ['an unknown coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
    ['chunks in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
    ['a folded field', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'],
    ['a bare line feed', 'HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n'],
    ['a space before a colon', 'HTTP/1.1 200 OK\r\nA : b\r\n\r\n'],
    ['a chunk without length', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n'],
    [
      'a chunk over its length',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n',
    ],
    ['an endless head', `HTTP/1.1 200 OK\r\nA: ${'b'.repeat(80_000)}`],
    ['many fields without end', `HTTP/1.1 200 OK\r\n${'A: b\r\n'.repeat(12_000)}`],
    ['endless informational heads', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(60)],
    [
      'more trailers than an exchange carries',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'A: b\r\n'.repeat(1_025)}\r\n`,
    ],
    [
      'an endless chunk line',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(600)}`,
    ],
  ])('A response with %s is cut with a typed error', async (_, text) => {
    answerWith(text);
    const exchange = open();
    expect(await exchange.closed).toMatchObject({ code: 'target_reset' });
    expect(exchange.events).not.toContain('end');
  });

  it.each([
    ['nothing', ''],
    ['a part of the head', 'HTTP/1.1 200 OK\r\nA: b'],
    ['less than its length', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc'],
    ['a part of a chunk', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab'],
    ['chunks without the last', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n'],
  ])('A server that sends %s and closes is a cut', async (_, text) => {
    answerWith(text, true);
    const exchange = open();
    expect(await exchange.closed).toMatchObject({ code: 'target_reset' });
    expect(exchange.events).not.toContain('end');
  });

  it('A body without length ends with the connection', async () => {
    answerWith('HTTP/1.0 200 OK\r\n\r\nall of it', true);
    const exchange = open();
    expect(await exchange.closed).toBeUndefined();
    expect(exchange.body).toBe('all of it');
  });

  it('Bytes behind a response are not the answer to the next request', async () => {
    let connections = 0;
    onConnection = (socket) => {
      const number = ++connections;
      const text = `HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${number}`;
      const smuggled = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong';
      socket.on('data', () => socket.write(number === 1 ? text + smuggled : text));
    };
    const first = open();
    await first.closed;
    const second = open();
    await second.closed;
    expect([first.body, second.body]).toEqual(['1', '2']);
  });

  it('A connection that the server has closed is replaced for a GET, and not for a POST', async () => {
    let connections = 0;
    let requests = 0;
    onConnection = (socket) => {
      connections++;
      let count = 0;
      socket.on('data', () => {
        requests++;
        if (++count === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
        else socket.resetAndDestroy();
      });
    };
    await open().closed;
    const startedAt = connections;
    expect(await open().closed).toBeUndefined();
    expect(connections).toBe(startedAt + 1);
    const requestsBefore = requests;
    expect(await open({ method: 'POST' }).closed).toMatchObject({ code: 'target_reset' });
    expect(requests).toBe(requestsBefore + 1);
    expect(connections).toBe(startedAt + 1);
  });

  it('A caller that leaves ends its connection to the server', async () => {
    const ended = Promise.withResolvers<void>();
    onConnection = (socket) => {
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\nevent'));
      socket.on('close', () => ended.resolve());
      socket.on('end', () => socket.end());
    };
    const exchange = open();
    await exchange.until(() => exchange.bodyBytes > 0);
    exchange.exchange.reset(new TunnelError('cancelled', 'gone'));
    await ended.promise;
    expect(world.requests.openCount).toBe(0);
  });
});

describe('An upgraded connection', () => {
  /** An echo that answers the end of its input with its own end. */
  function echoUpgrade(greeting = ''): void {
    onConnection = (socket) => {
      let isUpgraded = false;
      socket.on('data', (bytes: Buffer) => {
        if (isUpgraded) {
          socket.write(bytes);
          return;
        }
        isUpgraded = true;
        const head =
          'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n';
        socket.write(`${head}X-Protocol: v4\r\n\r\n${greeting}`);
      });
      socket.on('end', () => socket.end('bye'));
    };
  }

  async function opened(): Promise<AwaitedExchange> {
    const exchange = open({ path: '/exec', headers: upgrade });
    await exchange.until(() => exchange.head !== undefined);
    return exchange;
  }

  it('Both directions carry bytes, with half-close', async () => {
    echoUpgrade('hello ');
    const exchange = await opened();
    expect(exchange.head).toMatchObject({ status: 101 });
    expect(exchange.head?.headers).toContainEqual(['Upgrade', 'SPDY/3.1']);
    expect(exchange.head?.headers).toContainEqual(['X-Protocol', 'v4']);
    exchange.exchange.write(Buffer.from('ping '));
    await exchange.until(() => exchange.bodyBytes >= 11);
    exchange.exchange.end();
    expect(await exchange.closed).toBeUndefined();
    expect(exchange.body).toBe('hello ping bye');
  });

  it('A server that agrees with more fields than an exchange carries loses its connection', async () => {
    const ended = Promise.withResolvers<void>();
    onConnection = (socket) => {
      socket.on('data', () => {
        const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n';
        socket.write(`${head}${'A: b\r\n'.repeat(1_024)}\r\n`);
      });
      socket.on('end', () => socket.end());
      socket.on('close', () => ended.resolve());
    };
    const exchange = open({ path: '/exec', headers: upgrade });
    expect(await exchange.closed).toMatchObject({ code: 'protocol_error' });
    await ended.promise;
  });

  it('Megabytes in both directions arrive unchanged', async () => {
    echoUpgrade();
    const exchange = await opened();
    const piece = Buffer.alloc(64 * 1024, 'x');
    const totalBytes = 4 * 1024 * 1024;
    for (let bytes = 0; bytes < totalBytes; bytes += piece.length) {
      if (exchange.exchange.write(piece)) continue;
      const { length } = exchange.events;
      await exchange.until(() => exchange.events.length > length);
    }
    exchange.exchange.end();
    expect(await exchange.closed).toBeUndefined();
    expect(exchange.bodyBytes).toBe(totalBytes + 3);
  });

  it('A declined upgrade is an ordinary response', async () => {
    answerWith('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno');
    const exchange = open({ headers: upgrade });
    expect(await exchange.closed).toBeUndefined();
    expect([exchange.head?.status, exchange.body]).toEqual([403, 'no']);
  });

  it('A reset of the server is a cut', async () => {
    onConnection = (socket) => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: SPDY/3.1\r\n\r\n', () =>
          socket.resetAndDestroy(),
        );
      });
    };
    const exchange = open({ headers: upgrade });
    expect(await exchange.closed).toMatchObject({ code: 'target_reset' });
  });
});
