import { readFile } from 'node:fs/promises';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Policy } from '../../src/access/policy.ts';
import type { WatchedAuthorizer } from '../../src/access/watched-authorizer.ts';
import { type CertificateFiles, makeTestCertificates } from '../../testkit/world/certificates.ts';
import { dialFailure, echo, openClient } from '../../testkit/world/front-client.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { FakeDialer } from './fake-dialer.ts';
import { endOf } from './socket-end.ts';
import { startTestBridge, type TestBridge } from './test-bridge.ts';

const rules = [
  {
    name: 'alice uses everything in c1',
    subjects: { certificates: ['alice'] },
    clusters: { names: ['c1'] },
    allow: [{ tcp: { hosts: ['*'] } }],
  },
  {
    name: 'team b uses one Service in both clusters',
    subjects: { organizations: ['team-b'] },
    clusters: { names: ['c1', 'c2'] },
    allow: [{ tcp: { hosts: ['db.shop.svc'], ports: [5432] } }],
  },
];

/** Who may do what: certificate, destination, and whether the dial succeeds. */
const table: readonly (readonly [string, string, boolean])[] = [
  ['alice', 'c1:443', true],
  ['alice', 'db.shop.svc.c1:5432', true],
  ['alice', 'c2:443', false],
  ['alice', 'db.shop.svc.c2:5432', false],
  ['bob', 'c1:443', false],
  ['bob', 'c2:443', false],
  ['bob', 'db.shop.svc.c1:5432', true],
  ['bob', 'db.shop.svc.c2:5432', true],
  ['bob', 'db.shop.svc.c2:22', false],
  ['bob', 'api.shop.svc.c2:5432', false],
  ['carol', 'c1:443', false],
  ['carol', 'db.shop.svc.c1:5432', false],
];

class TestRules implements WatchedAuthorizer {
  #policy = Policy.parse({ rules });
  readonly #listeners: (() => void)[] = [];

  authorize(...[subject, cluster, action]: Parameters<WatchedAuthorizer['authorize']>) {
    return this.#policy.authorize(subject, cluster, action);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  change(document: object): void {
    this.#policy = Policy.parse(document);
    for (const listener of this.#listeners) listener();
  }
}

let certificates: Awaited<ReturnType<typeof makeTestCertificates>>;
let target: Awaited<ReturnType<typeof startTarget>>;
let bridge: TestBridge;
const authorizer = new TestRules();
const people = new Map<string, CertificateFiles>();

beforeAll(async () => {
  certificates = await makeTestCertificates();
  target = await startTarget({ mode: 'echo' });
  for (const [name, subject] of [
    ['alice', 'CN=alice,O=team-a'],
    ['bob', 'CN=bob,O=team-b'],
    ['carol', 'CN=carol'],
  ] as const) {
    people.set(name, await certificates.clientAuthority.issue({ name, subject, usage: 'client' }));
  }
  const any = { host: '127.0.0.1', port: 0 };
  const { server, client } = certificates;
  bridge = await startTestBridge(
    FakeDialer.to({ host: '127.0.0.1', port: target.port }),
    {
      listen: any,
      socks5: { listen: any, requiresToken: false },
      tls: { certFile: server.cert, keyFile: server.key, clientCaFile: client.ca },
    },
    { rules: authorizer },
  );
});

afterAll(async () => {
  await bridge?.[Symbol.asyncDispose]();
  await target?.[Symbol.asyncDispose]();
  await certificates?.[Symbol.asyncDispose]();
});

async function socketOf(person: string, front: 0 | 1): Promise<TLSSocket> {
  const { cert, key } = people.get(person)!;
  const [host = '', port] = bridge.bridge.addresses[front]!.split(':');
  const socket = connect({
    ...{ host, port: Number(port), servername: 'localhost', ALPNProtocols: ['http/1.1'] },
    ca: await readFile(certificates.server.ca),
    cert: await readFile(cert),
    key: await readFile(key),
  });
  await new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve).once('error', reject);
  });
  return socket;
}

/** The first bytes of the answer. */
async function firstAnswer(socket: TLSSocket): Promise<Buffer> {
  return await new Promise((resolve, reject) => {
    socket.once('data', resolve).once('error', reject);
  });
}

const grpcClient = (person: string) =>
  openClient({
    address: bridge.address,
    tls: { serverCa: certificates.server.ca, client: people.get(person)! },
  });

describe('Who may do what', () => {
  it.each(table)('Over gRPC, %s at %s: %s', async (person, to, isAllowed) => {
    await using client = await grpcClient(person);
    const answer = isAllowed
      ? await client.dial(to).then((connection) => echo(connection, 'hi'))
      : (await dialFailure(client, to)).message;
    expect(answer).toContain(isAllowed ? 'hi' : 'no rule of the policy allows certificate');
  });

  it.each(table)('Over HTTP CONNECT, %s at %s: %s', async (person, to, isAllowed) => {
    const socket = await socketOf(person, 0);
    socket.write(`CONNECT ${to} HTTP/1.1\r\nHost: ${to}\r\n\r\n`);
    const answer = (await firstAnswer(socket)).toString();
    socket.destroy();
    expect(answer).toMatch(isAllowed ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 403 no rule/);
    expect(answer.includes('Culvert-Error: forbidden')).toBe(!isAllowed);
  });

  it.each(table)('Over SOCKS 5, %s at %s: %s', async (person, to, isAllowed) => {
    const socket = await socketOf(person, 1);
    socket.write(Buffer.from([5, 1, 0]));
    expect(await firstAnswer(socket)).toEqual(Buffer.from([5, 0]));
    const [host = '', port] = to.split(':');
    const request = Buffer.from([5, 1, 0, 3, host.length, ...Buffer.from(host), 0, 0]);
    request.writeUInt16BE(Number(port), request.length - 2);
    socket.write(request);
    const answer = await firstAnswer(socket);
    socket.destroy();
    expect(answer[1]).toBe(isAllowed ? 0 : 2);
  });

  it('A client that is denied dials nothing', async () => {
    const dialer = FakeDialer.to({ host: '127.0.0.1', port: target.port });
    await using own = await startTestBridge(
      dialer,
      { listen: { host: '127.0.0.1', port: 0 } },
      { rules: { authorize: async () => ({ allowed: false, reason: 'no' }), onChange: () => {} } },
    );
    const call = own.peer.call();
    call.dial('c1:443');
    await call.status;
    expect(dialer.opened).toEqual([]);
    expect(own.metrics.read('pending_backend_dials')).toBe(0);
  });

  it('An open connection ends when its certificate is revoked, and others continue', async () => {
    const open = async (person: string) => {
      const socket = await socketOf(person, 0);
      socket.write('CONNECT db.shop.svc.c1:5432 HTTP/1.1\r\nHost: db.shop.svc.c1:5432\r\n\r\n');
      await firstAnswer(socket);
      return socket;
    };
    const [alice, bob] = await Promise.all([open('alice'), open('bob')]);
    const { serialNumber } = alice.getCertificate() as { serialNumber: string };
    const ended = endOf(alice);
    const revoked = { certificates: [{ serial: serialNumber, issuer: 'CN=client-ca' }] };
    authorizer.change({ rules, revoked });
    try {
      expect((await ended).answer.toString()).toBe('');
      bob.write('still here');
      expect((await firstAnswer(bob)).toString()).toBe('still here');
      await using client = await grpcClient('alice');
      expect((await dialFailure(client, 'c1:443')).message).toContain('the certificate is revoked');
    } finally {
      bob.destroy();
      authorizer.change({ rules });
    }
  });
});
