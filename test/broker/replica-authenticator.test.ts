import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';
import { createApp } from '../../src/broker/app.ts';
import { type Authenticator, AuthenticationError } from '../../src/broker/authenticator.ts';
import { Hub } from '../../src/broker/hub.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import {
  isAnswer,
  ReplicaAuthenticator,
  ReplicaKeys,
} from '../../src/broker/replica-authenticator.ts';
import { RecordingLogger } from '../support/linked-sessions.ts';

const address = 'ws://10.0.0.1:8080';
const nowS = 1_700_000_000;
const key = await ReplicaKeys.fromText('the key of the replicas', () => nowS);

const nobody: Authenticator = {
  authenticate: () => Promise.reject(new AuthenticationError('there is no token')),
};

/** Asks a replica at `address` for a session with these headers. */
async function ask(headers: Record<string, string>) {
  const log = new RecordingLogger();
  const directory = new MemoryDirectory();
  const app = createApp({
    hub: new Hub({ replica: 'r1', address, directory, clock: systemClock, log }),
    authenticator: new ReplicaAuthenticator(() => key, address, nobody),
    acceptRate: new AcceptRate(100, systemClock),
    metrics: async () => ({ contentType: '', text: '' }),
    log,
  });
  let answered: Readonly<Record<string, string>> | undefined;
  const response = await app.request(
    '/v1/clusters/c1/session',
    { headers },
    {
      upgrade: (_, added = {}) => {
        answered = added;
        return new Response(null, { status: 204 });
      },
    },
  );
  return { response, answered, lines: log.lines };
}

describe('a replica that calls another', () => {
  it('is let in with the key that they share, and gets the proof that the other one has it too', async () => {
    const proof = await key.prove(address, 'bridge ü');
    const { answered, lines } = await ask(proof.headers);
    expect(lines).toEqual([]);
    expect(isAnswer(answered?.['Culvert-Replica'], proof)).toBe(true);
    expect(await key.verify(new Headers(proof.headers), address)).toMatchObject({
      dialer: 'bridge ü',
    });
  });

  const wrong = async () => ReplicaKeys.fromText('another key of replicas', () => nowS);
  const at = async (seconds: number) =>
    ReplicaKeys.fromText('the key of the replicas', () => nowS + seconds);
  const zeros = '0'.repeat(64);
  const forged: Record<string, () => Promise<Record<string, string>>> = {
    'a wrong key': async () => ({ ...(await (await wrong()).prove(address, 'b')).headers }),
    'a proof for another address': async () => ({
      ...(await key.prove('ws://10.0.0.2:8080', 'b')).headers,
    }),
    'a proof that was made for another dialer': async () => ({
      ...(await key.prove(address, 'b')).headers,
      'Culvert-Dialer': 'somebody-else',
    }),
    'a proof that is too old': async () => ({
      ...(await (await at(-61)).prove(address, 'b')).headers,
    }),
    'a proof from the future': async () => ({
      ...(await (await at(61)).prove(address, 'b')).headers,
    }),
    'an answer in place of a proof': async () => {
      const { headers, answer } = await key.prove(address, 'b');
      const seconds = headers['Culvert-Replica']!.split(' ')[0]!;
      return { ...headers, 'Culvert-Replica': `${seconds} ${answer}` };
    },
    'a proof of nothing': async () => ({ 'Culvert-Replica': `${nowS} ${zeros}` }),
    'no proof': async () => ({ 'Culvert-Replica': 'x' }),
    'an endless proof': async () => ({ 'Culvert-Replica': `${nowS} ${'0'.repeat(10_000)}` }),
    'a name that cannot be read': async () => ({
      ...(await key.prove(address, 'b')).headers,
      'Culvert-Dialer': '%E0%A4%A',
    }),
    'a name and no proof': async () => ({ 'Culvert-Dialer': 'b' }),
  };

  it.each(Object.keys(forged))('is not let in with %s: unauthorized, logged once', async (what) => {
    const { response, answered, lines } = await ask(await forged[what]!());
    expect([response.status, answered]).toEqual([401, undefined]);
    expect(await response.json()).toMatchObject({ code: 'unauthorized' });
    expect(lines).toMatchObject([
      { event: 'connection refused', fields: { status: 401, code: 'unauthorized' } },
    ]);
    // Nobody else notices.
    expect((await ask((await key.prove(address, 'b')).headers)).answered).toBeDefined();
  });

  it('is known by each of several keys, and answered with the one that it has', async () => {
    const fromText = (text: string) => ReplicaKeys.fromText(text, () => nowS);
    const both = await fromText(' the new key of the replicas\n\nthe key of the replicas\r\n');
    for (const caller of [key, await fromText('the new key of the replicas'), both]) {
      const proof = await caller.prove(address, 'b');
      const verified = await both.verify(new Headers(proof.headers), address);
      expect(isAnswer(verified?.answer, proof)).toBe(true);
    }
    // It signs with the first.
    const { headers } = await both.prove(address, 'b');
    await expect(key.verify(new Headers(headers), address)).rejects.toThrow(/is not ours/);
  });

  it.each([
    ['there is none', ' \n\n', 'there is no key'],
    ['one is short', 'the key of the replicas\nQQ==', 'fewer than 16 characters'],
    ['they are PEM', '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA', 'is PEM'],
  ])('has no keys where %s', async (_, text, why) => {
    await expect(ReplicaKeys.fromText(text)).rejects.toThrow(why);
  });

  it('believes no answer but that of its own call', async () => {
    const proof = await key.prove(address, 'b');
    const other = await key.prove(address, 'c');
    const stranger = await (await wrong()).prove(address, 'b');
    expect(isAnswer(proof.answer, proof)).toBe(true);
    for (const given of [undefined, '', 'x', other.answer, stranger.answer, `${proof.answer}0`]) {
      expect(isAnswer(given, proof)).toBe(false);
    }
    expect(isAnswer(proof.headers['Culvert-Replica']!.split(' ')[1], proof)).toBe(false);
  });
});
