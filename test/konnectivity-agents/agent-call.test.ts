import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { type FrontStream, GrpcStatus } from '../../src/konnectivity/front.ts';
import { AgentCall } from '../../src/konnectivity-agents/agent-call.ts';
import type { AgentIdentity } from '../../src/konnectivity-agents/agent-authenticator.ts';
import type { ConnectedAgent } from '../../src/konnectivity-agents/connected-agent.ts';

/** A call of an agent whose credential is being checked. */
function startCall(peer = '192.0.2.1:1') {
  const checked = Promise.withResolvers<AgentIdentity>();
  const received: string[] = [];
  const ends: unknown[] = [];
  const addresses: string[] = [];
  const agent: Pick<ConnectedAgent, 'onBytes'> = {
    onBytes: (bytes) => void received.push(Buffer.from(bytes).toString()),
  };
  const front: FrontStream = {
    peer,
    subject: undefined,
    metadata: (name) => (name === 'agentid' ? ['a'] : []),
    queuedBytes: 0,
    queuedPackets: 0,
    respond() {},
    send() {},
    roundTrip() {},
    pause() {},
    resume() {},
    abort() {},
    end: (...end) => void ends.push(end),
  };
  const call = new AgentCall(
    {
      authenticate: ({ address }) => {
        addresses.push(address);
        return checked.promise;
      },
      serverId: 's',
      serverCount: 1,
      maxAgentIdLength: 64,
      log: silentLogger,
      accept: () => agent as ConnectedAgent,
      refused() {},
      calls: new Set(),
    },
    front,
  );
  return { call, ends, received, checked, addresses };
}

describe('A standard agent whose credential is being checked', () => {
  it('A standard agent counts with the others of its address, and of its /64 with IPv6', () => {
    const addressOf = (peer: string) => startCall(peer).addresses[0];
    expect(addressOf('192.0.2.1:1')).toBe('192.0.2.1');
    expect(addressOf('a name (192.0.2.1:1)')).toBe('192.0.2.1');
    expect(addressOf('[2001:db8::1]:1')).toBe(addressOf('[2001:db8::2]:1'));
    expect(addressOf('[2001:db8:0:1::1]:1')).not.toBe(addressOf('[2001:db8::1]:1'));
  });

  it('A standard agent whose credential is being checked loses none of the bytes that it sends', async () => {
    const { call, received, checked, ends } = startCall();
    call.onData(Buffer.from('early'));
    call.onData(Buffer.from('bytes'));
    expect(received).toEqual([]);
    checked.resolve({} as AgentIdentity);
    await checked.promise;
    await Promise.resolve();
    expect(received).toEqual(['early', 'bytes']);
    call.onData(Buffer.from('later'));
    expect(received).toEqual(['early', 'bytes', 'later']);
    expect(ends).toEqual([]);
  });

  it.each([
    ['64 KiB', 1, 64 * 1024],
    ['1,000 single bytes', 1_000, 1],
  ])(
    'A standard agent whose credential is being checked is refused when it sends %s',
    (_, count, lengthBytes) => {
      const { call, ends } = startCall();
      for (let i = 0; i < count; i++) call.onData(new Uint8Array(lengthBytes));
      const message = 'the agent sent too much before it was accepted';
      expect(ends).toEqual([[GrpcStatus.unknown, message]]);
    },
  );
});
