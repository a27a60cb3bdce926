import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { ClientHttp2Session } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientPreface, headers, settings } from '../../testkit/http2/frames.ts';
import { indexedField, plainField } from '../../testkit/http2/hpack-bytes.ts';
import { costOfAttack, residentBytes } from './attack-cost.ts';
import { GatewayProcesses, type Status } from './gateway-processes.ts';

const mib = 1024 * 1024;
const pollMs = 50;
/** The limits of the gateway on one user. */
const maxRequests = 100;
const maxQueued = 2 * maxRequests;
const maxWatches = 300;
/** The limit of a connection of HTTP/2. */
const streamsPerConnection = 250;
/** A busy machine makes ten thousand TLS handshakes slowly. */
const slow = { timeout: 240_000 };

const stack = new AsyncDisposableStack();
let world: GatewayProcesses;

beforeAll(async () => {
  world = stack.use(
    await GatewayProcesses.start([
      ...['--gateway-max-requests', String(maxRequests)],
      ...['--gateway-max-watches', String(maxWatches)],
    ]),
  );
});
afterAll(() => stack.disposeAsync());

/** Answers that the kube-apiserver has begun and not ended. */
class HeldAnswers {
  readonly open = new Set<ServerResponse>();
  highest = 0;

  hold(response: ServerResponse): void {
    this.open.add(response);
    this.highest = Math.max(this.highest, this.open.size);
    response.on('close', () => this.open.delete(response));
  }

  async until(count: number): Promise<void> {
    while (this.open.size !== count) await sleep(pollMs);
  }
}

/** A GET over HTTP/2; resolves with the head of its answer. The answer stays open. */
async function start(session: ClientHttp2Session, path: string, token: string): Promise<Status> {
  const stream = session.request({ ':path': `/c1${path}`, authorization: `Bearer ${token}` });
  stream.on('error', () => {});
  const [head] = (await once(stream.resume(), 'response')) as [Record<string, unknown>];
  const retryAfter = head['retry-after'] as string | undefined;
  return { status: head[':status'] as number, retryAfter };
}

/** Connections of HTTP/2 for this number of streams at the same time. */
function sessionsFor(streams: number): ClientHttp2Session[] {
  return Array.from({ length: Math.ceil(streams / streamsPerConnection) }, () => world.connect());
}

describe('A flood of one user of the gateway', () => {
  it(
    'A flood of GETs and watches gets 429 with Retry-After, and another user is served',
    slow,
    async () => {
      const count = 1000;
      const gets = new HeldAnswers();
      const watches = new HeldAnswers();
      let isReleased = false;
      world.answer = ({ url = '' }, response) => {
        if (url.includes('watch=')) {
          watches.hold(response);
          response.flushHeaders();
        } else {
          gets.hold(response);
          if (isReleased) response.end();
        }
      };
      const sessions = sessionsFor(2 * count);
      const refusedGets: Status[] = [];
      const refusedWatches: Status[] = [];
      const allRefused = Promise.withResolvers<void>();
      const flood = async (): Promise<void> => {
        const asked = Array.from({ length: count }, async (_, n) => {
          const session = sessions[Math.floor(n / streamsPerConnection)]!;
          const got = await start(session, `/api/v1/pods/${n}`, 'flood');
          if (got.status !== 200) refusedGets.push(got);
          if (refusedGets.length === count - maxRequests - maxQueued) allRefused.resolve();
        });
        const watched = Array.from({ length: count }, async (_, n) => {
          const session = sessions[Math.floor((count + n) / streamsPerConnection)]!;
          const got = await start(session, '/api/v1/pods?watch=1', 'flood');
          if (got.status !== 200) refusedWatches.push(got);
        });
        await Promise.all([...watched, allRefused.promise]);
        isReleased = true;
        for (const response of gets.open) response.end();
        await Promise.all(asked);
      };
      const cost = await costOfAttack(world.broker, flood, world.probe);
      for (const session of sessions) session.destroy();
      expect(cost.failedProbes).toEqual([]);
      expect(gets.highest).toBe(maxRequests);
      expect(watches.highest).toBe(maxWatches);
      expect(refusedWatches).toHaveLength(count - maxWatches);
      // Requests that wait for more than 15 s are refused as well.
      expect(refusedGets.length).toBeGreaterThanOrEqual(count - maxRequests - maxQueued);
      const refused = [...refusedGets, ...refusedWatches];
      expect(new Set(refused.map(({ status, retryAfter }) => `${status} ${retryAfter}`))).toEqual(
        new Set(['429 1']),
      );
      await watches.until(0);
    },
  );
});

describe('Answers that are never read', () => {
  const listBytes = 50 * mib;
  const piece = Buffer.alloc(mib);

  /** Each request has a connection of its own. */
  async function unreadOver1(users: number): Promise<Disposable[]> {
    const opened: Disposable[] = [];
    for (let n = 0; n < users * maxRequests; n++) {
      const socket = await world.openTls('http/1.1');
      socket.pause();
      socket.write(
        `GET /c1/api/v1/pods HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer user${n % users}\r\n\r\n`,
      );
      opened.push({ [Symbol.dispose]: () => socket.destroy() });
    }
    return opened;
  }

  /** The requests of a user share a connection. */
  async function unreadOver2(users: number): Promise<Disposable[]> {
    const opened: Disposable[] = [];
    for (let user = 0; user < users; user++) {
      const socket = await world.openTls('h2');
      socket.pause();
      socket.write(Buffer.concat([clientPreface, settings()]));
      const head = Buffer.concat([
        // :method GET and :scheme https.
        indexedField(2),
        indexedField(7),
        plainField(':path', '/c1/api/v1/pods'),
        plainField(':authority', 'a'),
        plainField('authorization', `Bearer user${user}`),
      ]);
      for (let n = 0; n < maxRequests; n++) socket.write(headers(2 * n + 1, head, 0x5));
      opened.push({ [Symbol.dispose]: () => socket.destroy() });
      // The kube-apiserver of this test accepts connections slowly.
      await world.probe();
    }
    return opened;
  }

  // Each list fills about 4 MiB of the kernel's memory for TCP at the kube-apiserver of this test.
  // Without memory, the kernel resets connections of all programs of the machine.
  it.each([
    { version: '1.1', users: 2, open: unreadOver1 },
    { version: '2', users: 2, open: unreadOver2 },
  ])(
    'Unread lists of 50 MiB over HTTP/$version of $users users cost bounded memory, and another user is served',
    slow,
    async ({ users, open }) => {
      const lists = new HeldAnswers();
      const sent = { bytes: 0 };
      world.answer = (_request, response) => {
        lists.hold(response);
        response.setHeader('Content-Length', listBytes);
        let written = 0;
        const more = (): void => {
          for (
            let isRoom = true;
            isRoom && written < listBytes;
            written += mib, sent.bytes += mib
          ) {
            isRoom = response.write(piece);
          }
        };
        response.on('drain', more);
        more();
      };
      const agentBefore = await residentBytes(world.agent);
      let opened: Disposable[] = [];
      let agentGrown = 0;
      const attack = async (): Promise<void> => {
        opened = await open(users);
        // Everything is stuck when the kube-apiserver can send nothing more.
        for (let before = -1; before !== sent.bytes || sent.bytes === 0;) {
          before = sent.bytes;
          for (let probes = 0; probes < 5; probes++) await world.probe();
          agentGrown = Math.max(agentGrown, (await residentBytes(world.agent)) - agentBefore);
        }
      };
      const cost = await costOfAttack(world.broker, attack, world.probe);
      const stuck = lists.open.size;
      for (const one of opened) one[Symbol.dispose]();
      console.info(
        `${stuck} unread lists: broker ${Math.round(cost.grownBytes / mib)} MiB, agent ${Math.round(agentGrown / mib)} MiB`,
      );
      expect(cost.failedProbes).toEqual([]);
      expect(stuck).toBeGreaterThan(maxRequests);
      expect(cost.grownBytes).toBeLessThan(512 * mib);
      expect(agentGrown).toBeLessThan(512 * mib);
      // A client that has gone frees everything that it had.
      await lists.until(0);
    },
  );
});
