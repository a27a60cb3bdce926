import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Relay } from '../../src/broker/relay.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { SimulatedDirectory } from '../../testkit/world/simulated-directory.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const elsewhere = { cluster: 'c1', agent: 'b', tunnel: 0, replica: 'r2', address: 'ws://r2' };
const request = { cluster: 'c1', process: undefined, forwarded: false, except: undefined };
const { signal } = new AbortController();

/** A replica with a standby agent. */
async function makeReplica() {
  const directory = new SimulatedDirectory().view();
  const relay = new Relay({
    replica: 'r1',
    address: 'ws://r1',
    directory,
    forward: () => Promise.reject(new TunnelError('link_lost', 'gone')),
    clock: new VirtualClock(20),
    log: silentLogger,
  });
  const connect = async (agent: string, standby: boolean) => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    const name = { kind: 'agent', cluster: 'c1', agent, tunnel: 0 } as const;
    relay.admit(far, standby ? { ...name, standby } : name);
    const peer = new PlayedLink(near);
    const hello = { ...protocolVersion, software: 'test' };
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage(hello));
    await peer.next(FrameType.welcome);
    return peer;
  };
  await connect('standby', true);
  return { directory, relay, connect };
}

describe('A standby agent', () => {
  it('A standby agent gets sessions of a cluster that has no other agent', async () => {
    const { relay } = await makeReplica();
    expect(await relay.route(request, signal)).toMatchObject({ agent: { agent: 'standby' } });
  });

  it('A standby agent gets no sessions while the replica has another agent', async () => {
    const { relay, connect } = await makeReplica();
    await connect('a', false);
    expect(await relay.route(request, signal)).toMatchObject({ agent: { agent: 'a' } });
  });

  it('A standby agent gets no sessions while another replica has another agent', async () => {
    const { directory, relay } = await makeReplica();
    const owner = await directory.claim(elsewhere);
    expect(await relay.route(request, signal)).toEqual({ kind: 'remote', owner });
  });

  it('A standby agent here is preferred to a standby agent at another replica', async () => {
    const { directory, relay } = await makeReplica();
    await directory.claim({ ...elsewhere, standby: true });
    expect(await relay.route(request, signal)).toMatchObject({ agent: { agent: 'standby' } });
  });

  it('A standby agent keeps the sessions that name its process', async () => {
    const { directory, relay, connect } = await makeReplica();
    await connect('a', false);
    await directory.claim(elsewhere);
    const resumed = { ...request, process: { agent: 'standby' } };
    expect(await relay.route(resumed, signal)).toMatchObject({ agent: { agent: 'standby' } });
  });

  it('A draining replica does not wait until a standby agent is at another replica', async () => {
    const { relay } = await makeReplica();
    await relay.drain(signal, 10_000);
    expect([...relay.agents()].every(({ draining }) => draining)).toBe(true);
  });
});
