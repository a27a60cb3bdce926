import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';
import { createApp } from '../../src/broker/app.ts';
import {
  type Authenticator,
  AuthenticationError,
  AuthenticationUnavailableError,
} from '../../src/broker/authenticator.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { ReplicaAuthenticator } from '../../src/broker/replica-authenticator.ts';
import { isAnswer, ReplicaKeys } from '../../src/broker/replica-keys.ts';
import { RecordingLogger } from '../../testkit/link/linked-sessions.ts';

const address = 'ws://10.0.0.1:8080';
const nowS = 1_700_000_000;
const key = await ReplicaKeys.fromText('the key of the replicas', () => nowS);

const nobody: Authenticator = {
  authenticate: () => Promise.reject(new AuthenticationError('there is no token')),
};

const atNow = { nowS: () => nowS };

const anyDialer: Authenticator = {
  authenticate: async () => ({ kind: 'dialer', name: 'bridge' }),
};

type ShownHeaders = Readonly<Record<string, string>>;

/** A replica at `address` that is asked for sessions; `clock.nowS` is its time. */
function makeReplica(keys = () => key) {
  const clock = { nowS };
  const authenticator = new ReplicaAuthenticator(keys, address, nobody, { nowS: () => clock.nowS });
  const asked = (headers: ShownHeaders, path?: string) => askAt(authenticator, headers, path);
  return { clock, ask: asked };
}

/** Asks a replica that has just started for a session with these headers. */
const ask = (headers: ShownHeaders) => makeReplica().ask(headers);

async function askAt(
  authenticator: Authenticator,
  headers: ShownHeaders,
  path = '/v1/clusters/c1/session',
  { acceptRate = new AcceptRate(100, systemClock), isDraining = false } = {},
) {
  const log = new RecordingLogger();
  const directory = new MemoryDirectory();
  const relay = new Relay({ replica: 'r1', address, directory, clock: systemClock, log });
  if (isDraining) relay.close();
  const app = createApp({
    relay,
    authenticator,
    acceptRate,
    clock: systemClock,
    metrics: async () => ({ contentType: '', text: '' }),
    log,
  });
  let answered: Readonly<Record<string, string>> | undefined;
  const response = await app.request(
    path,
    { headers },
    {
      acceptLink: (_: unknown, added: Readonly<Record<string, string>> = {}) => {
        answered = added;
        return new Response(null, { status: 204 });
      },
    },
  );
  return { response, answered, lines: log.lines };
}

describe('A replica that calls another', () => {
  it('A replica is admitted with the shared key, and gets the proof that the other replica has it too', async () => {
    const proof = await key.prove(address, 'c1', 'bridge ü');
    const { answered, lines } = await ask(proof.headers);
    expect(lines).toEqual([]);
    expect(isAnswer(answered?.['Culvert-Replica'], proof)).toBe(true);
    expect(await key.verify(new Headers(proof.headers), address)).toMatchObject({
      dialer: 'bridge ü',
    });
  });

  it('A replica that drains takes sessions from other replicas, and refuses all other clients', async () => {
    const authenticator = new ReplicaAuthenticator(() => key, address, anyDialer, atNow);
    const path = '/v1/clusters/c1/session';
    const request = (headers: ShownHeaders) =>
      askAt(authenticator, headers, path, { isDraining: true });
    const { headers } = await key.prove(address, 'c1', 'bridge');
    expect((await request(headers)).answered).toBeDefined();
    for (const refused of [{}, { 'Culvert-Replica': 'x' }]) {
      const { response, answered } = await request(refused);
      expect(answered).toBeUndefined();
      expect([401, 503]).toContain(response.status);
    }
    expect((await request({})).response.status).toBe(503);
  });

  it('A replica forwards sessions without a limit on their rate, because the first replica counted them', async () => {
    const acceptRate = new AcceptRate(1, systemClock);
    const authenticator = new ReplicaAuthenticator(() => key, address, anyDialer, atNow);
    const path = '/v1/clusters/c1/session';
    const request = (headers: ShownHeaders) => askAt(authenticator, headers, path, { acceptRate });
    for (let at = 0; at < 5; at++) {
      const { headers } = await key.prove(address, 'c1', 'bridge');
      expect((await request(headers)).answered).toBeDefined();
    }
    expect((await request({})).response.status).toBe(204);
    expect((await request({})).response.status).toBe(503);
  });

  const wrong = async () => ReplicaKeys.fromText('another key of replicas', () => nowS);
  const at = async (seconds: number) =>
    ReplicaKeys.fromText('the key of the replicas', () => nowS + seconds);
  const zeros = '0'.repeat(64);
  const forged: Record<string, () => Promise<Record<string, string>>> = {
    'a wrong key': async () => ({ ...(await (await wrong()).prove(address, 'c1', 'b')).headers }),
    'a proof for another address': async () => ({
      ...(await key.prove('ws://10.0.0.2:8080', 'c1', 'b')).headers,
    }),
    'a proof that was made for another dialer': async () => ({
      ...(await key.prove(address, 'c1', 'b')).headers,
      'Culvert-Dialer': 'somebody-else',
    }),
    'a proof that is too old': async () => ({
      ...(await (await at(-61)).prove(address, 'c1', 'b')).headers,
    }),
    'a proof from the future': async () => ({
      ...(await (await at(61)).prove(address, 'c1', 'b')).headers,
    }),
    'an answer in place of a proof': async () => {
      const { headers, answer } = await key.prove(address, 'c1', 'b');
      const seconds = headers['Culvert-Replica']!.split(' ')[0]!;
      return { ...headers, 'Culvert-Replica': `${seconds} ${answer}` };
    },
    'a proof of nothing': async () => ({ 'Culvert-Replica': `${nowS} ${zeros}` }),
    'no proof': async () => ({ 'Culvert-Replica': 'x' }),
    'an endless proof': async () => ({ 'Culvert-Replica': `${nowS} ${'0'.repeat(10_000)}` }),
    'a name that cannot be read': async () => ({
      ...(await key.prove(address, 'c1', 'b')).headers,
      'Culvert-Dialer': '%E0%A4%A',
    }),
    'a name and no proof': async () => ({ 'Culvert-Dialer': 'b' }),
  };

  it.each(Object.keys(forged))(
    'A replica with %s is refused with unauthorized, logged once',
    async (what) => {
      const { response, answered, lines } = await ask(await forged[what]!());
      expect([response.status, answered]).toEqual([401, undefined]);
      expect(await response.json()).toMatchObject({ code: 'unauthorized' });
      expect(lines).toMatchObject([
        { event: 'connection refused', fields: { status: 401, code: 'unauthorized' } },
      ]);
      // Nobody else notices.
      expect((await ask((await key.prove(address, 'c1', 'b')).headers)).answered).toBeDefined();
    },
  );

  it('A replica is authenticated by each of several keys, and answered with its own', async () => {
    const fromText = (text: string) => ReplicaKeys.fromText(text, () => nowS);
    const both = await fromText(' the new key of the replicas\n\nthe key of the replicas\r\n');
    for (const caller of [key, await fromText('the new key of the replicas'), both]) {
      const proof = await caller.prove(address, 'c1', 'b');
      const verified = await both.verify(new Headers(proof.headers), address);
      expect(isAnswer(verified?.answer, proof)).toBe(true);
    }
    // It signs with the first.
    const { headers } = await both.prove(address, 'c1', 'b');
    await expect(key.verify(new Headers(headers), address)).rejects.toThrow(/is not ours/);
  });

  it.each([
    ['there is none', ' \n\n', 'there is no key'],
    ['one is short', 'the key of the replicas\nQQ==', 'fewer than 16 characters'],
    ['they are PEM', '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA', 'is PEM'],
  ])('has no keys where %s', async (_, text, why) => {
    await expect(ReplicaKeys.fromText(text)).rejects.toThrow(why);
  });

  it('A replica accepts only the answer to its own call', async () => {
    const proof = await key.prove(address, 'c1', 'b');
    const other = await key.prove(address, 'c1', 'c');
    const stranger = await (await wrong()).prove(address, 'c1', 'b');
    expect(isAnswer(proof.answer, proof)).toBe(true);
    for (const given of [undefined, '', 'x', other.answer, stranger.answer, `${proof.answer}0`]) {
      expect(isAnswer(given, proof)).toBe(false);
    }
    expect(isAnswer(proof.headers['Culvert-Replica']!.split(' ')[1], proof)).toBe(false);
  });
});

describe('An overheard proof of a replica', () => {
  it('An overheard proof is refused as long as it is valid', async () => {
    const { ask, clock } = makeReplica();
    const { headers } = await key.prove(address, 'c1', 'b');
    expect((await ask(headers)).answered).toBeDefined();
    for (const laterS of [0, 1, 59, 60]) {
      clock.nowS = nowS + laterS;
      const { response, answered, lines } = await ask(headers);
      expect([response.status, answered]).toEqual([401, undefined]);
      expect(lines).toMatchObject([
        { fields: { error: 'the proof of the replica has been used before' } },
      ]);
    }
  });

  it('An overheard proof is refused when its clock is ahead of ours', async () => {
    let shownS = nowS;
    const keys = await ReplicaKeys.fromText('the key of the replicas', () => shownS);
    const authenticator = new ReplicaAuthenticator(() => keys, address, nobody, {
      nowS: () => shownS,
    });
    const ahead = await ReplicaKeys.fromText('the key of the replicas', () => nowS + 60);
    const { headers } = await ahead.prove(address, 'c1', 'b');
    expect((await askAt(authenticator, headers)).answered).toBeDefined();
    // By its own time it is good until then.
    shownS = nowS + 120;
    expect((await askAt(authenticator, headers)).response.status).toBe(401);
    shownS = nowS + 121;
    expect((await askAt(authenticator, headers)).lines).toMatchObject([
      { fields: { error: expect.stringContaining('too old') } },
    ]);
  });

  it('An overheard proof is refused after the keys were read again', async () => {
    const again = await ReplicaKeys.fromText(
      'a new key of the replicas\nthe key of the replicas',
      () => nowS,
    );
    let keys = key;
    const { ask } = makeReplica(() => keys);
    const { headers } = await key.prove(address, 'c1', 'b');
    expect((await ask(headers)).answered).toBeDefined();
    keys = again;
    expect((await ask(headers)).response.status).toBe(401);
  });

  it('An overheard proof is refused by a replica that was restarted since', async () => {
    const { headers } = await key.prove(address, 'c1', 'b');
    const restarted = new ReplicaAuthenticator(() => key, address, nobody, {
      nowS: () => nowS + 6,
    });
    expect((await askAt(restarted, headers)).lines).toMatchObject([
      { fields: { error: expect.stringContaining('before this broker started') } },
    ]);
  });

  it('An overheard proof opens no session with another cluster, and nothing else', async () => {
    const shown = async () => (await key.prove(address, 'c1', 'b')).headers;
    for (const path of ['/v1/clusters/c2/session', '/v1/agent', '/v1/status', '/v1/clusters']) {
      const { response, answered } = await makeReplica().ask(
        { ...(await shown()), 'Culvert-Cluster': 'c1', 'Culvert-Agent': 'a' },
        path,
      );
      expect([path, response.status, answered]).toEqual([path, 403, undefined]);
    }
  });

  it.each([
    ['cluster', (name: string) => name.replace('cluster%3Dc1', 'cluster%3Dc2')],
    ['nonce', (name: string) => name.replace(/nonce%3D./, 'nonce%3Dx')],
    ['binding', (name: string) => name.replace(/%3B.*/, '')],
  ])('cannot be given another %s', async (_, change) => {
    const { headers } = await key.prove(address, 'c1', 'b');
    const changed = change(headers['Culvert-Dialer']!);
    expect(changed).not.toBe(headers['Culvert-Dialer']);
    const { response } = await ask({ ...headers, 'Culvert-Dialer': changed });
    expect(response.status).toBe(401);
  });

  it('A proof is remembered for two minutes, up to a limit of proofs', async () => {
    const clock = { nowS };
    const options = { nowS: () => clock.nowS, maxProofs: 3 };
    const authenticator = new ReplicaAuthenticator(() => keys, address, nobody, options);
    const keys = await ReplicaKeys.fromText('the key of the replicas', () => clock.nowS);
    const forward = async () => {
      const { headers } = await keys.prove(address, 'c1', 'b');
      return authenticator.authenticate(new Headers(headers), { certificates: [] });
    };
    for (let proof = 0; proof < 3; proof++) await forward();
    await expect(forward()).rejects.toBeInstanceOf(AuthenticationUnavailableError);
    clock.nowS = nowS + 120;
    await expect(forward()).rejects.toBeInstanceOf(AuthenticationUnavailableError);
    clock.nowS = nowS + 121;
    for (let proof = 0; proof < 3; proof++) await forward();
  });
});

describe('A replica that forwards a session of a gateway', () => {
  /** How replicas that do not know gateways read a proof. */
  const earlierBinding = /^(.*);cluster=([a-z0-9-]{1,63});nonce=([0-9a-f]{32})$/s;

  it('A proof for a gateway says so, is valid once, and binds replicas that do not know gateways', async () => {
    const { headers } = await key.prove(address, 'c1', 'x'.repeat(500), true);
    const authenticator = new ReplicaAuthenticator(() => key, address, nobody, atNow);
    const forward = () => authenticator.authenticate(new Headers(headers), { certificates: [] });
    const name = 'x'.repeat(128);
    expect(await forward()).toMatchObject({ name, cluster: 'c1', isGateway: true });
    await expect(forward()).rejects.toThrow('used before');
    const [, earlierName, cluster] =
      earlierBinding.exec(decodeURIComponent(headers['Culvert-Dialer']!)) ?? [];
    expect([earlierName, cluster]).toEqual([`${name};gateway`, 'c1']);
  });

  it.each(['bridge;gateway', 'bridge;gateway;cluster=c2', ';gateway'])(
    'The dialer %s is not taken for a gateway because of its name',
    async (dialer) => {
      const { headers } = await key.prove(address, 'c1', dialer);
      const verified = await key.verify(new Headers(headers), address);
      expect(verified?.bound).toMatchObject({ cluster: 'c1', isGateway: false });
    },
  );
});

describe('A replica of culvert 0.1', () => {
  /** Signs as that version does. */
  async function earlierHeaders(dialer: string): Promise<ShownHeaders> {
    const bytes = (text: string) => new TextEncoder().encode(text);
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    const hmac = await crypto.subtle.importKey(
      'raw',
      bytes('the key of the replicas'),
      algorithm,
      false,
      ['sign'],
    );
    const mac = await crypto.subtle.sign(
      'HMAC',
      hmac,
      bytes(`culvert replica\n${nowS}\n${address}\n${dialer}`),
    );
    const hex = Buffer.from(mac).toString('hex');
    return { 'Culvert-Replica': `${nowS} ${hex}`, 'Culvert-Dialer': encodeURIComponent(dialer) };
  }

  it('A replica of culvert 0.1 is admitted during a rolling upgrade with its unbound proof', async () => {
    const { ask } = makeReplica();
    const headers = await earlierHeaders('bridge');
    // It makes the same proof for each session that it forwards within a second.
    for (const path of ['/v1/clusters/c1/session', '/v1/clusters/c2/session']) {
      expect((await ask(headers, path)).answered).toBeDefined();
    }
  });

  it("A replica of culvert 0.1 understands our proof, whose binding is in the dialer's name", async () => {
    const { headers } = await key.prove(address, 'c1', 'x'.repeat(500));
    const dialer = decodeURIComponent(headers['Culvert-Dialer']!);
    expect(dialer).toMatch(/^x{128};cluster=c1;nonce=[0-9a-f]{32}$/);
    // It reads 256 characters of the name, and signs those.
    const longest = await key.prove(address, 'c'.repeat(63), 'x'.repeat(500));
    expect(decodeURIComponent(longest.headers['Culvert-Dialer']!).length).toBeLessThanOrEqual(256);
    expect(await earlierHeaders(dialer)).toEqual(headers);
  });
});
