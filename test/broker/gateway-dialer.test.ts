import { expect, it } from 'vitest';
import {
  generateTokenKeyPair,
  issueToken,
  TokenVerifier,
} from '../../src/base/tokens/enrolment-token.ts';
import type { TokenSubject } from '../../src/base/tokens/token-subject.ts';
import { AttachedSessions } from '../../src/broker/attached-sessions.ts';
import { ReadingPauses } from '../../src/broker/reading-pauses.ts';
import { ReplicaKeys } from '../../src/broker/replica-keys.ts';
import type { FrameType } from '../../src/tunnel/frame.ts';
import type { Link } from '../../src/tunnel/link.ts';
import { decodeAttach } from '../../src/tunnel/message.ts';

const address = 'ws://127.0.0.1:1/';
const keysText = 'a key of the replicas that is long enough';

async function boundOf(name: string, isGateway: boolean) {
  const keys = await ReplicaKeys.fromText(keysText);
  const { headers } = await keys.prove(address, 'c1', name, isGateway);
  return await keys.verify(new Headers(headers), address);
}

it('A replica learns from the proof whether a forwarded dialer is a gateway', async () => {
  expect((await boundOf('bridge', false))?.bound?.isGateway).toBe(false);
  expect(await boundOf('gateway', true)).toMatchObject({
    dialer: 'gateway',
    bound: { cluster: 'c1', isGateway: true },
  });
});

it('The name of a dialer cannot make it a gateway', async () => {
  const name = 'x;cluster=c1;gateway';
  const proven = { dialer: 'x_cluster=c1_gateway', bound: { isGateway: false } };
  expect(await boundOf(name, false)).toMatchObject(proven);
});

it('An agent learns from ATTACH that a dialer is a gateway', () => {
  const payloads: Uint8Array[] = [];
  const link = {
    room: 0,
    sendCopy: (_type: FrameType, _session: number, _stream: number, payload: Uint8Array) =>
      void payloads.push(payload.slice()),
  } as unknown as Link;
  const sessions = new AttachedSessions(link);
  const pauses = new ReadingPauses(link);
  const dialer = { link, pauses, dialer: 'd', queuedControlBytes: 0, sendGoAway() {} };
  for (const isGateway of [true, false]) {
    sessions.attach({ ...dialer, isGateway }, '0'.repeat(32), false);
  }
  const attached = payloads.map((payload) => decodeAttach(payload).gateway);
  expect(attached).toEqual([true, undefined]);
});

it('A token of culvert token gateway makes a dialer a gateway, and no other token does', async () => {
  const { privateKeyPem, publicKeyPem } = await generateTokenKeyPair();
  const verifier = await TokenVerifier.fromPem([publicKeyPem]);
  const verified = async (subject: TokenSubject) =>
    await verifier.verify((await issueToken(privateKeyPem, subject, 60_000)).reveal());
  const own = { kind: 'dialer', name: 'gateway' } as const;
  expect(await verified({ ...own, isGateway: true })).toMatchObject({ ...own, isGateway: true });
  expect(await verified(own)).not.toHaveProperty('isGateway');
});
