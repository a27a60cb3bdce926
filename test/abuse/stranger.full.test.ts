import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { startNginx } from '../../testkit/ground/services.ts';
import { echo, openClient } from '../../testkit/world/front-client.ts';
import { openSockets } from '../../testkit/processes/open-files.ts';
import { startProgram } from '../../testkit/processes/process.ts';
import { connectTo, handshakeText, RawWebSocket } from '../../testkit/link/raw-websocket.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import {
  culvert,
  logged,
  loggedLine,
  startCulvert,
  startWorld,
  type World,
} from '../../testkit/world/world.ts';
import { costOfAttack } from './attack-cost.ts';
import {
  addressOf,
  ask,
  type Address,
  linesAbout,
  probeLikeKubelet,
  Stranger,
  tryLikeKubelet,
  withOpenFiles,
} from '../../testkit/network/stranger.ts';

const mib = 1024 * 1024;
/** The most that a stranger may cost. A stranger who piles up answers would cost hundreds. */
const mostBytes = 150 * mib;
/** A connection without progress is closed after 8 s. The rest is for a slow machine. */
const closedAfterMs = 20_000;

interface Place {
  readonly world: World;
  readonly main: Address;
  readonly status: Address;
}

let target: TestTarget;
let plain: Place;
let secure: Place;

async function startPlace(options: { readonly plain?: boolean }): Promise<Place> {
  const world = await startWorld({ ...options, commonArgs: ['--status-listen', '127.0.0.1:0'] });
  const status = (await logged(world.broker, 'status listens', 'address')) as Address;
  return { world, main: addressOf(world.brokerUrl), status };
}

beforeAll(async () => {
  target = await startTarget({ mode: 'echo' });
  [plain, secure] = await Promise.all([startPlace({ plain: true }), startPlace({})]);
}, 60_000);
afterAll(async () => {
  await Promise.all([
    plain?.world[Symbol.asyncDispose](),
    secure?.world[Symbol.asyncDispose](),
    target?.close(),
  ]);
});

/** Expects that an open stream, a new stream and the probe of a kubelet work. */
async function honestPeers({ world, status }: Place) {
  const client = await openClient(world.front);
  const connection = await client.dial(`cluster1:${target.port}`);
  connection.on('error', () => {});
  return {
    probe: async (): Promise<void> => {
      expect(await echo(connection, 'still there')).toBe('still there');
      const fresh = await client.dial(`cluster1:${target.port}`);
      expect(await echo(fresh, 'hello')).toBe('hello');
      fresh.destroy();
      expect(await ask(status, '/healthz')).toMatchObject({ status: 200 });
    },
    [Symbol.dispose]: () => client.close(),
  };
}

/** Opens TLS to the broker if the broker uses TLS. */
function openTls(stranger: Stranger, address: Address) {
  const socket = connectTls({ socket: stranger.connect(address), rejectUnauthorized: false });
  socket.on('error', () => {});
  return socket;
}

describe('A stranger who sends many requests at once and never reads', () => {
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: broker.test\r\n\r\n`;
  const paths = ['/metrics', '/healthz', '/v1/status', '/nowhere'];

  it.each([
    ['the broker', () => ({ place: plain, address: plain.main })],
    ['the status port', () => ({ place: plain, address: plain.status })],
    ['the broker behind TLS', () => ({ place: secure, address: secure.main })],
  ] as const)(
    'A stranger who never reads the answers of %s costs little and harms no honest peer',
    { timeout: 60_000 },
    async (_, where) => {
      const { place, address } = where();
      using honest = await honestPeers(place);
      using stranger = new Stranger();
      const attack = async (): Promise<void> => {
        const flood = paths.map((path) => request(path).repeat(2500)).join('');
        await Promise.all(
          Array.from({ length: 16 }, async () => {
            const socket =
              address === secure.main ? openTls(stranger, address) : stranger.connect(address);
            socket.pause();
            socket.write(flood);
            await sleep(2_000);
          }),
        );
      };
      const cost = await costOfAttack(place.world.broker, attack, honest.probe);
      expect(cost.failedProbes).toEqual([]);
      expect(cost.grownBytes).toBeLessThan(mostBytes);
      stranger.read();
      await stranger.untilClosed(closedAfterMs);
    },
  );

  it(
    'A stranger who never reads costs little over 400 connections',
    { timeout: 60_000 },
    async () => {
      using honest = await honestPeers(plain);
      using stranger = new Stranger();
      const attack = async (): Promise<void> => {
        for (let at = 0; at < 400; at++) {
          const socket = stranger.connect(at % 2 === 0 ? plain.main : plain.status);
          socket.pause();
          socket.write(request('/metrics').repeat(100));
        }
        await sleep(2_000);
      };
      const cost = await costOfAttack(plain.world.broker, attack, honest.probe);
      expect(cost.failedProbes).toEqual([]);
      expect(cost.grownBytes).toBeLessThan(mostBytes);
      stranger.read();
      await stranger.untilClosed(closedAfterMs);
    },
  );
});

describe('A stranger who sends a byte now and then', () => {
  const head = `GET /healthz HTTP/1.1\r\nHost: broker.test\r\nX-Header: ${'x'.repeat(4000)}`;
  // The header announces a record of 512 bytes, and no byte of the record reveals its content.
  const hello = Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), Buffer.alloc(400)]);
  const answered = 'GET /healthz HTTP/1.1\r\nHost: broker.test\r\n\r\n';

  it.each([
    ['of a request to the broker', () => plain.main, head],
    ['of a request to the status port', () => plain.status, head],
    ['of a TLS handshake', () => secure.main, hello],
    ['between two requests to the broker', () => plain.main, '\r\n'.repeat(2000)],
    ['between two requests to the status port', () => plain.status, '\r\n'.repeat(2000)],
  ] as const)(
    'A stranger who sends single bytes %s is disconnected in time',
    { timeout: 60_000 },
    async (title, where, bytes) => {
      using stranger = new Stranger();
      const sockets = Array.from({ length: 5 }, () => stranger.connect(where()));
      if (title.startsWith('between')) {
        await Promise.all(
          sockets.map(async (socket) => {
            socket.write(answered);
            await once(socket, 'data');
          }),
        );
      }
      const over = new AbortController();
      const trickle = async (): Promise<void> => {
        for (let at = 0; at < bytes.length && !over.signal.aborted; at++) {
          const byte = bytes.slice(at, at + 1);
          for (const socket of sockets) if (!socket.destroyed) socket.write(byte);
        }
      };
      const trickling = trickle();
      try {
        await stranger.untilClosed(closedAfterMs);
      } finally {
        over.abort();
        await trickling;
      }
      expect(await openSockets(plain.world.broker)).toBeLessThan(40);
    },
  );
});

describe('A stranger who wants a proxy and the broker to read a request differently', () => {
  const line = 'GET /healthz HTTP/1.1\r\n';
  const host = 'Host: broker.test\r\n';
  const upgrade = handshakeText('/v1/agent');
  const requests: readonly (readonly [string, string])[] = [
    [
      'with Content-Length and Transfer-Encoding',
      `POST / HTTP/1.1\r\n${host}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    [
      'with two lengths',
      `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
    ],
    ['with an unknown transfer coding', `${line}${host}Transfer-Encoding: xchunked\r\n\r\n`],
    ['with a chunked body', `${line}${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['with a bare line feed', `GET /healthz HTTP/1.1\n${host}\r\n`],
    ['with a bare line feed between headers', `${line}Host: a\nX: b\r\n\r\n`],
    ['with a folded header', `${line}${host}X: a\r\n b\r\n\r\n`],
    ['with a space before a colon', `${line}Host : broker.test\r\n\r\n`],
    ['without a Host', `${line}\r\n`],
    ['with two Hosts', `${line}${host}${host}\r\n`],
    ['for an upgrade without a Host', upgrade.replace(/Host: .*\r\n/, '')],
    ['for an upgrade with two Hosts', upgrade.replace('Host:', 'Host: other.test\r\nHost:')],
    ['for an upgrade with a body', upgrade.replace('Host:', 'Content-Length: 5\r\nHost:')],
    ['for an upgrade with chunks', upgrade.replace('Host:', 'Transfer-Encoding: chunked\r\nHost:')],
    ['of HTTP/0.9', 'GET /healthz\r\n\r\n'],
    ['of HTTP/2 in the form of HTTP/1', `GET /healthz HTTP/2.0\r\n${host}\r\n`],
    ['with a hundred headers too many', `${line}${host}${'X: y\r\n'.repeat(200)}\r\n`],
    ['with a head of 20 KiB', `${line}${host}X: ${'x'.repeat(20_000)}\r\n\r\n`],
  ];
  const targets = [
    '/v1/agent/\\..\\..\\..\\healthz',
    '/v1\\agent',
    '//healthz',
    '/v1//agent',
    '/v1/agent/../../healthz',
    '/./healthz',
    '/healthz/.',
    '/%2e%2e/healthz',
    '/v1/%2E%2E/healthz',
    '/v1%2fagent',
    '/v1%5cagent',
    '/%68ealthz',
    'http://broker.test/healthz',
    '*',
    '/healthz#fragment',
    '/healthz?a\\b',
  ];
  const cases = [
    ...requests,
    ...targets.map((path) => [`for ${path}`, `GET ${path} HTTP/1.1\r\n${host}\r\n`] as const),
    ...targets.map(
      (path) => [`for an upgrade of ${path}`, upgrade.replace('/v1/agent', path)] as const,
    ),
  ];

  it.each(cases)('An ambiguous request is refused everywhere: %s', async (_, text) => {
    using stranger = new Stranger();
    for (const address of [plain.main, plain.status]) {
      // The status port knows no upgrades: it answers and closes in the same way.
      const answer = await stranger.say(address, text);
      expect(answer).toMatch(/^HTTP\/1\.1 (400|431|505) /);
      expect(answer.match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
    }
  });

  it('An ordinary request is served', async () => {
    for (const address of [plain.main, plain.status]) {
      expect(await ask(address, '/healthz?verbose')).toMatchObject({ status: 200 });
    }
  });
});

describeWith({ nginx: await ground.debian('nginx') }, 'A stranger behind nginx', ({ nginx }) => {
  it('A stranger behind nginx does not get past a rule about paths', async () => {
    const { certificates } = plain.world;
    await using ingress = await startNginx(nginx, {
      tls: certificates.server,
      upstreamPort: Number(new URL(plain.world.brokerUrl).port),
      // The same rule as in the chart's Ingress: only the paths of agents.
      location: '/v1/agent',
    });
    using stranger = new Stranger();
    const through = async (text: string): Promise<string> => {
      const socket = openTls(stranger, `127.0.0.1:${ingress.port}`);
      await once(socket, 'secureConnect');
      socket.write(text);
      const [answer] = (await once(socket, 'data')) as [Buffer];
      socket.destroy();
      return answer.toString('latin1', 'HTTP/1.1 '.length, 'HTTP/1.1 200'.length);
    };
    const ordinary = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
    expect(await through(ordinary('/healthz'))).toBe('404');
    expect(await through(ordinary('/v1/agent'))).toBe('426');
    expect(await through(handshakeText('/v1/agent'))).toBe('401');
    for (const path of [
      '/v1/agent/\\..\\..\\..\\metrics',
      '/v1/agent/\\..\\..\\..\\healthz',
      '/v1/agent\\..\\..\\healthz',
      '/v1/agent/%5c..%5c..%5c..%5chealthz',
      '/v1/agent//..\\..\\..\\healthz',
    ]) {
      expect(await through(ordinary(path))).toBe('400');
      expect(await through(handshakeText(path))).toBe('400');
    }
  });
});

describe('A stranger who opens more connections than a broker has descriptors', () => {
  const openFiles = 256;

  it(
    'A stranger who opens too many connections shuts out no probes, agents or konnectivity clients, and causes only a few log lines',
    { timeout: 60_000 },
    async () => {
      const { tokens } = plain.world;
      const listens = ['--listen', '--status-listen', '--konnectivity-listen'];
      await using broker = startProgram(
        withOpenFiles(
          openFiles,
          culvert('broker', [
            ...listens.flatMap((name) => [name, '127.0.0.1:0']),
            ...['--token-public-key', tokens.publicKeyFile],
          ]),
        ),
      );
      const main = addressOf(await logged(broker, 'broker listens', 'url'));
      const status = (await logged(broker, 'status listens', 'address')) as Address;
      const listening = await loggedLine(broker, 'konnectivity bridge listens');
      const [front] = listening['addresses'] as [Address];
      const token = await tokens.issue({ kind: 'agent', cluster: 'cluster1' });
      await using agent = startCulvert('agent', [
        ...['--broker-url', `ws://${main}`, '--cluster', 'cluster1', '--tunnels', '1'],
        ...['--token-file', await tokens.file(token), '--kube-apiserver', '127.0.0.1'],
      ]);
      await loggedLine(agent, 'connected to the broker');
      const client = await openClient({ address: front });
      const connection = await client.dial(`cluster1:${target.port}`);
      // It ends with the broker.
      connection.on('error', () => {});

      using stranger = new Stranger();
      let agents = 0;
      const probe = async (): Promise<void> => {
        await probeLikeKubelet(status, '/healthz');
        await probeLikeKubelet(status, '/readyz');
        expect(await echo(connection, 'still there')).toBe('still there');
        const fresh = await client.dial(`cluster1:${target.port}`);
        expect(await echo(fresh, 'hello')).toBe('hello');
        fresh.destroy();
        const cluster = `c${++agents}`;
        const headers = {
          Authorization: `Bearer ${await tokens.issue({ kind: 'agent', cluster })}`,
          'Culvert-Cluster': cluster,
          'Culvert-Agent': 'agent-1',
        };
        // The guard closes the connection that has waited longest for its request. It may take an
        // agent on a busy machine for one, and an agent connects again.
        await tryLikeKubelet('the agent', async () => {
          const socket = await connectTo(`ws://${main}`, '');
          using tunnel = await RawWebSocket.open(socket, '/v1/agent', headers);
          expect(tunnel.address).not.toBe('');
        });
      };
      const attack = async (): Promise<void> => {
        for (let round = 0; round < 15; round++) {
          for (let at = 0; at < 40; at++) {
            for (const address of [main, status, front]) stranger.connect(address);
          }
          await sleep(300);
        }
      };
      const cost = await costOfAttack(broker, attack, probe);
      expect(cost.failedProbes).toEqual([]);
      expect(cost.goodProbes).toBeGreaterThan(1);
      expect(await openSockets(broker)).toBeLessThan(openFiles - 32);
      await broker.waitForLine(/connections closed by their limits/);
      expect(linesAbout(broker, 'connections closed by their limits')).toBeLessThan(12);
      client.close();
    },
  );
});

describe('A stranger without a credential', () => {
  const agentOf = (cluster: string, token: string) => ({
    Authorization: `Bearer ${token}`,
    'Culvert-Cluster': cluster,
    'Culvert-Agent': 'agent-1',
  });

  it.each([
    ['no credential', {}],
    ['a bad credential', { Authorization: 'Bearer a.b.c' }],
  ])(
    'A stranger who sends many requests with %s does not use up the accept rate of agents',
    async (_, shown) => {
      const { tokens } = plain.world;
      await using broker = startCulvert('broker', [
        ...['--listen', '127.0.0.1:0', '--accept-rate', '25'],
        ...['--token-public-key', tokens.publicKeyFile],
      ]);
      const url = await logged(broker, 'broker listens', 'url');
      using stranger = new Stranger();
      const requests = Array.from({ length: 300 }, () =>
        stranger.say(addressOf(url), handshakeText('/v1/agent', shown)),
      );
      const clusters = Array.from({ length: 20 }, (__, at) => `c${at}`);
      const letIn = clusters.map(async (cluster) => {
        const token = await tokens.issue({ kind: 'agent', cluster });
        using socket = await RawWebSocket.open(
          await connectTo(url, ''),
          '/v1/agent',
          agentOf(cluster, token),
        );
        return socket.address !== '';
      });
      expect(await Promise.all(letIn)).toEqual(clusters.map(() => true));
      for (const answer of await Promise.all(requests)) expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    },
  );

  it('A stranger cannot ask for the status again and again, nor can a client with a credential', async () => {
    const token = await plain.world.tokens.issue({ kind: 'dialer', name: 'curious' });
    const headers = { Authorization: `Bearer ${token}` };
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => ask(plain.main, '/v1/status', headers)),
    );
    const refused = answers.filter(({ status }) => status === 503);
    expect(refused.length).toBeGreaterThan(50);
    for (const { retryAfter } of refused) expect(Number(retryAfter)).toBeGreaterThan(0);
    expect(answers.filter(({ status }) => status === 200).length).toBeGreaterThan(0);
  });
});

describe('The pages that strangers can see', () => {
  it('A stranger sees neither /metrics nor the degraded parts if there is a status port', async () => {
    expect(await ask(plain.main, '/metrics')).toMatchObject({ status: 404 });
    const { body } = await ask(plain.status, '/metrics');
    expect(body).toContain('culvert_broker_connections ');
    expect(body).toContain('culvert_broker_closed_connections_total{reason="pipelined"}');
  });
});
