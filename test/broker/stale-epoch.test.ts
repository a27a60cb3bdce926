import { expect, it } from 'vitest';
import { Relay } from '../../src/broker/relay.ts';
import type { AgentRecord } from '../../src/broker/directory.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { RecordingLogger } from '../../testkit/link/linked-sessions.ts';
import { PlayedLink } from '../../testkit/link/scripted-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

/** A directory whose word about other replicas is the test's. */
class ToldDirectory extends MemoryDirectory {
  fence: (claim: AgentRecord) => void = () => {};

  override onFenced(listener: (claim: AgentRecord) => void): void {
    this.fence = listener;
  }
}

it.each([
  ['an epoch from the past changes nothing', -1, []],
  ['an epoch that was never given out here changes nothing', 1_000, []],
  ['the epoch of the tunnel that stands ends that tunnel, once, and no other', 0, ['agent_lost']],
])('said to be fenced out, %s', async (_, difference, ends) => {
  const clock = new VirtualClock(20);
  const log = new RecordingLogger();
  const directory = new ToldDirectory();
  const relay = new Relay({ replica: 'r1', address: 'ws://r1', directory, clock, log });
  const connect = async (agent: string) => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    relay.admit(far, { kind: 'agent', cluster: 'c1', agent, tunnel: 0 });
    near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...protocolVersion, software: 'test' }));
    const peer = new PlayedLink(near);
    await peer.next(FrameType.welcome);
    return peer;
  };
  const [agent, other] = [await connect('a'), await connect('b')];
  const record = (await directory.locate('c1')).find((claim) => claim.agent === 'a')!;
  for (let times = 0; times < 2; times++) {
    directory.fence({ ...record, epoch: record.epoch + difference });
  }
  await clock.advance(0);
  expect(agent.ended === undefined ? [] : [agent.ended.error?.code]).toEqual(ends);
  expect(log.lines.filter(({ event }) => event === 'agent disconnected')).toHaveLength(ends.length);
  expect(other.ended).toBeUndefined();
  expect(relay.agentCount).toBe(2 - ends.length);
});
