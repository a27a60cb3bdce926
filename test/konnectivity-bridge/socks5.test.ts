import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Secret } from '../../src/base/secret.ts';
import type { Dialer } from '../../src/dialer/dialer.ts';
import { acceptSocks5 } from '../../src/konnectivity-bridge/socks5.ts';
import { TunnelError, type TunnelErrorCode } from '../../src/tunnel/errors.ts';
import { MemoryLog } from '../addon/controllers/memory-log.ts';
import { MemoryClient } from './memory-client.ts';
import { ScriptedDialer } from './scripted-dialer.ts';
import { testContext } from './test-context.ts';

const token = 'aaaa.bbbb.cccc';

interface SceneOptions {
  readonly cluster?: string;
  readonly requiresToken?: boolean;
  readonly isFull?: boolean;
}

function scene({ cluster, requiresToken = false, isFull = false }: SceneOptions = {}) {
  const dialer = new ScriptedDialer();
  /** The dialer of every token. */
  const ofToken = new ScriptedDialer();
  const tokens: string[] = [];
  const log = new MemoryLog();
  const context = testContext(dialer, { log, ...(cluster !== undefined && { cluster }) });
  const dialerOf = (shown: Secret): Dialer | undefined => {
    tokens.push(shown.reveal());
    return isFull ? undefined : ofToken;
  };
  const client = new MemoryClient(acceptSocks5(context, { requiresToken, dialerOf }));
  return { dialer, ofToken, tokens, log, context, client };
}

async function settled(): Promise<void> {
  for (let turns = 0; turns < 4; turns++) await nextTurn();
}

const greeting = (...methods: number[]) => Buffer.of(5, methods.length, ...methods);
const port = (number: number) => [number >> 8, number & 0xff];
const named = (name: string, number = 443, command = 1) =>
  Buffer.of(5, command, 0, 3, name.length, ...Buffer.from(name, 'latin1'), ...port(number));
const ipv4 = Buffer.of(5, 1, 0, 1, 10, 0, 0, 7, ...port(10_250));
const ipv6 = Buffer.of(5, 1, 0, 4, 0xfd, ...Array<number>(14).fill(0), 7, ...port(10_250));
const credentials = (user: string, password: string) =>
  Buffer.of(1, user.length, ...Buffer.from(user), password.length, ...Buffer.from(password));
const reply = (code: number) => `05${code.toString(16).padStart(2, '0')}0001000000000000`;
const hex = (text: string) => Buffer.from(text, 'latin1').toString('hex');

describe('a SOCKS 5 request', () => {
  it('A SOCKS 5 request dials the cluster and service that its name says', async () => {
    const { client, dialer, context } = scene();
    client.write(greeting(0));
    await settled();
    expect(hex(client.text)).toBe('0500');
    client.write(named('web.shop.svc.cluster1', 80));
    const stream = await dialer.next();
    expect(stream).toMatchObject({
      cluster: 'cluster1',
      target: { kind: 'tcp', host: 'web.shop.svc', port: 80 },
    });
    expect(client.isAdmitted).toBe(true);
    expect(context.socksConnections.size).toBe(1);
    stream.handler.onOpened!();
    stream.arrive('banner');
    await settled();
    expect(client.received.map(hex)).toEqual(['0500', reply(0), hex('banner')]);
    client.write('hello');
    client.finish();
    expect(stream.text).toBe('hello');
    expect(stream.isFinished).toBe(true);
    stream.arrive('late');
    stream.handler.onFin();
    await settled();
    expect(client.text).toMatch(/bannerlate$/);
    expect(client.isEnded).toBe(true);
  });

  it('A SOCKS 5 request may be split at every byte, and all early bytes reach the target', async () => {
    const whole = Buffer.concat([
      greeting(0, 2),
      credentials('aaaa.bb', 'bb.cccc'),
      named('cluster1'),
      Buffer.from('early'),
    ]);
    for (let at = 1; at < whole.length; at++) {
      const { client, ofToken, tokens } = scene();
      client.write(whole.subarray(0, at));
      client.write(whole.subarray(at));
      const stream = await ofToken.next();
      stream.handler.onOpened!();
      await settled();
      expect(stream.text, `split at ${at}`).toBe('early');
      expect(hex(client.text)).toBe(`05020100${reply(0)}`);
      expect(tokens).toEqual([token]);
    }
    const { client, ofToken } = scene();
    for (const byte of whole) client.write(Buffer.of(byte));
    const stream = await ofToken.next();
    stream.handler.onOpened!();
    expect(stream.text).toBe('early');
  });

  it.each([
    ['IPv4', ipv4, '10.0.0.7'],
    ['IPv6', ipv6, 'fd00::7'],
  ])(
    'An address (%s) is dialed in single-cluster mode, and refused otherwise',
    async (_, request, host) => {
      const single = scene({ cluster: 'only' });
      single.client.write(Buffer.concat([greeting(0), request]));
      expect(await single.dialer.next()).toMatchObject({
        cluster: 'only',
        target: { host, port: 10_250 },
      });
      const many = scene();
      many.client.write(Buffer.concat([greeting(0), request]));
      await settled();
      expect(hex(many.client.text)).toBe(`0500${reply(8)}`);
      expect(many.dialer.openedCount).toBe(0);
      expect(many.client.isEnded).toBe(true);
    },
  );

  it.each<[TunnelErrorCode, number]>([
    ['forbidden_target', 2],
    ['forbidden', 2],
    ['unauthorized', 2],
    ['no_agent', 3],
    ['agent_lost', 3],
    ['dns', 4],
    ['unreachable', 4],
    ['refused', 5],
    ['timeout', 6],
    ['internal', 1],
    ['overloaded', 1],
  ])(
    'A dial that fails with %s is answered with reply %i, and the log has the sentence',
    async (code, expected) => {
      const { client, dialer, log } = scene();
      client.write(Buffer.concat([greeting(0), named('cluster1')]));
      const stream = await dialer.next();
      stream.handler.onClose(new TunnelError(code, 'the cause'));
      await settled();
      expect(hex(client.text)).toBe(`0500${reply(expected)}`);
      expect(client.isEnded).toBe(true);
      expect(log.infos).toHaveLength(1);
      expect(log.infos[0]).toContain(`"code":"${code}"`);
      expect(log.infos[0]).toContain('192.0.2.7:50000');
    },
  );

  it('A name of no cluster is answered with reply 3', async () => {
    const { client, context } = scene();
    client.write(Buffer.concat([greeting(0), named('web.example.com')]));
    await settled();
    expect(hex(client.text)).toBe(`0500${reply(3)}`);
    expect(context.failures).toEqual(['no_agent']);
  });

  it('A client that leaves before the answer cancels its dial', async () => {
    const { client, dialer, context } = scene();
    client.write(Buffer.concat([greeting(0), named('cluster1')]));
    const stream = await dialer.next();
    client.finish();
    await settled();
    expect(stream.resetBy?.code).toBe('cancelled');
    expect(context.socksConnections.size).toBe(0);
  });
});

describe('a token as user and password', () => {
  it('A client that offers a password is asked for it, and its token makes the dial', async () => {
    const { client, dialer, ofToken, tokens, log } = scene();
    client.write(greeting(0, 1, 2));
    await settled();
    expect(hex(client.text)).toBe('0502');
    client.write(credentials('aaaa.', 'bbbb.cccc'));
    await settled();
    expect(hex(client.text)).toBe('05020100');
    client.write(named('cluster1'));
    await ofToken.next();
    expect(dialer.openedCount).toBe(0);
    expect(tokens).toEqual([token]);
    expect(JSON.stringify([log.infos, log.warnings])).not.toContain('bbbb');
  });

  it('A password that is not a token is refused, and the log does not repeat it', async () => {
    for (const [user, password] of [
      ['bob', 'secret'],
      ['', ''],
      ['a.b.c', '.d'],
    ] as const) {
      const { client, tokens, log } = scene();
      client.write(Buffer.concat([greeting(2), credentials(user, password)]));
      await settled();
      expect(hex(client.text)).toBe('05020101');
      expect(client.isEnded).toBe(true);
      expect(tokens).toEqual([]);
      expect(log.warnings).toHaveLength(1);
      expect(log.warnings[0]).not.toContain('secret');
    }
  });

  it('A token is refused while there is no room for another one', async () => {
    const { client } = scene({ isFull: true });
    client.write(Buffer.concat([greeting(2), credentials('aaaa.bbbb', '.cccc')]));
    await settled();
    expect(hex(client.text)).toBe('05020101');
  });

  it('A client without a token is refused where one is required', async () => {
    const { client, log } = scene({ requiresToken: true });
    client.write(Buffer.concat([greeting(0), named('cluster1')]));
    await settled();
    expect(hex(client.text)).toBe('05ff');
    expect(client.isEnded).toBe(true);
    expect(log.warnings).toHaveLength(1);
    const shown = scene({ requiresToken: true });
    shown.client.write(Buffer.concat([greeting(0, 2), credentials('', token), named('cluster1')]));
    await shown.ofToken.next();
  });
});

describe('bad input', () => {
  const open = (request: Uint8Array) => Buffer.concat([greeting(0), request]);

  it.each([
    ['another version', Buffer.of(4, 1, 0, 80), '05ff'],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), '05ff'],
    ['no method', greeting(), '05ff'],
    ['only unknown methods', greeting(1, 3), '05ff'],
    ['a wrong version of the password', Buffer.of(5, 1, 2, 5, 1, 65, 1, 65), '05020101'],
    [
      'a wrong version of the request',
      open(Buffer.of(4, 1, 0, 1, 1, 2, 3, 4, 0, 80)),
      `0500${reply(1)}`,
    ],
    ['BIND', open(named('cluster1', 443, 2)), `0500${reply(7)}`],
    ['UDP ASSOCIATE', open(named('cluster1', 443, 3)), `0500${reply(7)}`],
    ['a reserved byte', open(Buffer.of(5, 1, 1, 1, 1, 2, 3, 4, 0, 80)), `0500${reply(1)}`],
    ['an unknown type of address', open(Buffer.of(5, 1, 0, 2, 1, 2)), `0500${reply(1)}`],
    ['an empty name', open(named('')), `0500${reply(1)}`],
    ['a name with a line feed', open(named('a\nb')), `0500${reply(1)}`],
    ['a name with brackets', open(named('[::1]')), `0500${reply(1)}`],
    ['port 0', open(named('cluster1', 0)), `0500${reply(1)}`],
  ])('A client that sends %s is refused, and one line names the peer', async (_, bytes, answer) => {
    const { client, dialer, log, context } = scene();
    client.write(bytes);
    client.write('and what follows');
    await settled();
    expect(hex(client.text)).toBe(answer);
    expect(client.isEnded).toBe(true);
    expect(client.isAdmitted).toBe(false);
    expect(dialer.openedCount).toBe(0);
    expect(log.warnings).toHaveLength(1);
    expect(log.warnings[0]).toContain('192.0.2.7:50000');
    context.clock.advanceSync(context.limits.lingerMs);
    expect(client.isAborted).toBe(true);
  });

  it('A client that ends within its request is closed', () => {
    const { client } = scene();
    client.write(Buffer.of(5, 1));
    client.finish();
    expect(client.isAborted).toBe(true);
  });
});
