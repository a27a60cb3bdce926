import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NameError } from '../../../src/base/net/name-error.ts';
import { SystemNameResolver } from '../../../src/base/net/name-resolver.ts';
import { type DnsRecord, DnsServer } from '../../../testkit/network/dns-server.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

let directory: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-names-'));
});
afterAll(() => rm(directory, { recursive: true }));

const silent: DnsRecord = { silent: [4, 6] };

interface Given {
  readonly records?: Readonly<Record<string, DnsRecord>>;
  readonly lines?: readonly string[];
  readonly hosts?: string;
}

/** A resolver with its own files, and the DNS server that they name. */
async function makeNames({ records = {}, lines = [], hosts = '' }: Given) {
  const server = await DnsServer.start(records);
  const resolverConfigFile = join(directory, `${server.port}.conf`);
  const hostsFile = join(directory, `${server.port}.hosts`);
  await writeFile(resolverConfigFile, [`nameserver ${server.address}`, ...lines].join('\n'));
  await writeFile(hostsFile, hosts);
  const clock = new VirtualClock();
  const names = new SystemNameResolver({ clock, resolverConfigFile, hostsFile });
  const over = new AbortController();
  const lookup = async (name: string, signal = over.signal) =>
    (await names.lookup(name, signal)).addresses;
  return {
    server,
    clock,
    names,
    lookup,
    hostsFile,
    resolverConfigFile,
    async [Symbol.asyncDispose]() {
      over.abort(new Error('the test is over'));
      await server[Symbol.asyncDispose]();
    },
  };
}

describe('SystemNameResolver', () => {
  it('The resolver finds the IPv4 and IPv6 addresses of a name, in the order of the server', async () => {
    const addresses = ['10.0.0.1', '10.0.0.2', 'fd00::1'];
    await using world = await makeNames({ records: { 'db.example.com': { addresses } } });
    expect(await world.lookup('db.example.com')).toEqual(expect.arrayContaining(addresses));
    expect(await world.lookup('DB.Example.com.')).toHaveLength(3);
  });

  it.each([
    ['that does not exist', { rcode: 3 }, 'not_found'],
    ['without addresses', { addresses: [] }, 'not_found'],
    ['for which the server fails', { rcode: 2 }, 'no_answer'],
    ['that the server refuses', { rcode: 5 }, 'no_answer'],
  ])('The resolver reports an error with a code for a name %s', async (_, record, code) => {
    await using world = await makeNames({ records: { 'db.example.com': record } });
    const failure: unknown = await world.lookup('db.example.com').catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(NameError);
    expect(failure).toMatchObject({ code, message: expect.stringContaining('db.example.com') });
  });

  it('The resolver reports an error with a code when the DNS server does not exist', async () => {
    const world = await makeNames({});
    await world[Symbol.asyncDispose]();
    const { signal } = new AbortController();
    await expect(world.lookup('db.example.com', signal)).rejects.toMatchObject({
      code: 'no_answer',
    });
  });

  it('The resolver uses TCP for a name with more addresses than fit into a datagram', async () => {
    const addresses = Array.from({ length: 100 }, (_, i) => `10.0.1.${i}`);
    await using world = await makeNames({
      records: { 'many.example.com': { addresses, truncated: true } },
    });
    expect(await world.lookup('many.example.com')).toHaveLength(100);
    expect(world.server.questions).toContain('many.example.com A/tcp');
  });

  it('The resolver finds a name when the server answers for one family only, and the other family may be late', async () => {
    const record: DnsRecord = { addresses: ['10.0.0.1', 'fd00::1'], silent: [6] };
    await using world = await makeNames({ records: { 'db.example.com': record } });
    const over = new AbortController();
    const looking = world.names.lookup('db.example.com', over.signal);
    // The first family has been found.
    await expect.poll(() => world.clock.pendingTimers).toBe(1);
    await world.clock.advance(50);
    const found = await looking;
    expect(found.addresses).toEqual(['10.0.0.1']);
    over.abort(new Error('enough'));
    expect(await found.late).toEqual([]);
  });

  it.each(['127.1', '2130706433', '0x7f000001', '0177.0.0.1'])(
    'The resolver does not read %s, an old spelling, as an address',
    async (name) => {
      await using world = await makeNames({});
      await expect(world.lookup(name)).rejects.toMatchObject({ code: 'not_found' });
    },
  );
});

describe('search domains of the resolver', () => {
  const lines = [
    'search shop.svc.cluster.local svc.cluster.local cluster.local',
    'options ndots:5',
  ];

  it('The search domains are tried first for a name with few dots, as in a pod', async () => {
    await using world = await makeNames({
      lines,
      records: { 'kubernetes.default.svc.cluster.local': { addresses: ['10.96.0.1'] } },
    });
    expect(await world.lookup('kubernetes.default.svc')).toEqual(['10.96.0.1']);
    const asked = world.server.questions.filter((question) => question.endsWith(' A'));
    expect(asked).toEqual([
      'kubernetes.default.svc.shop.svc.cluster.local A',
      'kubernetes.default.svc.svc.cluster.local A',
      'kubernetes.default.svc.cluster.local A',
    ]);
  });

  it('The search domains are tried last for a name with many dots', async () => {
    await using world = await makeNames({
      lines: ['search corp.example.com', 'options ndots:1'],
      records: { 'a.b.corp.example.com': { addresses: ['10.0.0.9'] } },
    });
    expect(await world.lookup('a.b')).toEqual(['10.0.0.9']);
    expect(world.server.questions[0]).toMatch(/^a\.b A/);
  });

  it('The search domains are not tried for a name with a final dot', async () => {
    await using world = await makeNames({ lines });
    await expect(world.lookup('web.')).rejects.toMatchObject({ code: 'not_found' });
    expect(new Set(world.server.questions)).toEqual(new Set(['web A', 'web AAAA']));
  });

  it('The next search domain is tried after a failure of the server, but not after a timeout', async () => {
    await using world = await makeNames({
      lines: ['search a.test b.test', 'options ndots:5 timeout:1 attempts:1'],
      records: {
        'failing.a.test': { rcode: 2 },
        'failing.b.test': { addresses: ['10.0.0.2'] },
        'silent.a.test': silent,
        'silent.b.test': { addresses: ['10.0.0.3'] },
      },
    });
    expect(await world.lookup('failing')).toEqual(['10.0.0.2']);
    await expect(world.lookup('silent')).rejects.toMatchObject({ code: 'no_answer' });
    expect(world.server.questions).not.toContain('silent.b.test A');
  });
});

describe('hosts file of the resolver', () => {
  const hosts = [
    '10.1.1.1 db.example.com db # the old one',
    '',
    '# 10.9.9.9 db',
    'fd00::9\tDB.example.com',
    '10.1.1.1 db',
    'nonsense web',
  ].join('\n');

  it('The hosts file takes precedence over DNS, for all addresses of a name', async () => {
    await using world = await makeNames({ hosts });
    expect(await world.lookup('db.EXAMPLE.com.')).toEqual(['10.1.1.1', 'fd00::9']);
    expect(await world.lookup('db')).toEqual(['10.1.1.1']);
    expect(world.server.questions).toEqual([]);
  });

  it('The hosts file need not contain localhost', async () => {
    await using world = await makeNames({ hosts });
    expect(await world.lookup('localhost')).toEqual(['127.0.0.1', '::1']);
  });

  it('The hosts file and resolv.conf are read again when they change', async () => {
    await using world = await makeNames({ hosts });
    await using second = await DnsServer.start({ 'new.test': { addresses: ['10.2.2.2'] } });
    await expect(world.lookup('new')).rejects.toMatchObject({ code: 'not_found' });
    await writeFile(world.hostsFile, '10.3.3.3 db');
    await writeFile(world.resolverConfigFile, `nameserver ${second.address}\nsearch test\n`);
    expect(await world.lookup('db')).toEqual(['10.1.1.1']);
    await world.clock.advance(5_000);
    expect(await world.lookup('db')).toEqual(['10.3.3.3']);
    expect(await world.lookup('new')).toEqual(['10.2.2.2']);
  });
});

describe('slow names in the resolver', () => {
  const slow = Array.from({ length: 50 }, (_, i) => `slow${i}.test`);
  const records = Object.fromEntries(slow.map((name) => [name, silent]));

  it('A slow name delays no other name: good names are found while 50 slow names are pending', async () => {
    const good: DnsRecord = { addresses: ['10.0.0.1'] };
    await using world = await makeNames({ records: { ...records, 'good.test': good } });
    let settled = 0;
    for (const name of slow) void world.lookup(name).catch(() => settled++);
    for (let i = 0; i < 30; i++) expect(await world.lookup('good.test')).toEqual(['10.0.0.1']);
    expect(settled).toBe(0);
  });

  it('A slow name is given up when the signal aborts, and leaves no lookup behind', async () => {
    await using world = await makeNames({ records });
    const over = new AbortController();
    const looking = world.lookup('slow1.test', over.signal);
    over.abort(new Error('no longer wanted'));
    await expect(looking).rejects.toThrow('no longer wanted');
    world.server.records.set('slow1.test', { addresses: ['10.0.0.5'] });
    expect(await world.lookup('slow1.test')).toEqual(['10.0.0.5']);
  });

  it('A slow name with several callers is looked up once, until the last caller gives up', async () => {
    await using world = await makeNames({ records });
    const [first, second] = [new AbortController(), new AbortController()];
    const failing = world.lookup('slow1.test', first.signal);
    const waiting = world.lookup('slow1.test', second.signal);
    first.abort(new Error('first'));
    await expect(failing).rejects.toThrow('first');
    const asked = () => world.server.questions.filter((question) => question === 'slow1.test A');
    await expect.poll(asked).toHaveLength(1);
    second.abort(new Error('second'));
    await expect(waiting).rejects.toThrow('second');
  });
});
