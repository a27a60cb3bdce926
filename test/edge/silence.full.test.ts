import { afterAll, beforeAll, expect, it } from 'vitest';
import { FrameType } from '../../src/tunnel/frame.ts';
import { turns } from '../websocket/link-owners.ts';
import { EdgeBroker } from './edge-broker.ts';

let broker: EdgeBroker;
beforeAll(async () => {
  broker = await EdgeBroker.start({ CULVERT_SILENCE_LIMIT: '1s' });
}, 30_000);
afterAll(() => broker?.[Symbol.asyncDispose]());

it('The object closes the socket of a silent peer, asleep or not, and keeps the socket of a peer that pings', async () => {
  const silent = await broker.rawAgent('silence', { pingIntervalMs: 600_000 });
  const pinging = await broker.rawAgent('silence', { pingIntervalMs: 200 });
  const pingingDialer = await broker.rawDialer('silence');
  // The object sleeps between two alarms, so it cannot remember the last message in memory.
  while (silent.received.closes.length === 0) {
    // It may be asleep already.
    await broker.worker.putToSleep('silence').catch(() => {});
    await turns(1);
  }
  expect(['peer_unresponsive', 'link_lost']).toContain(silent.received.closes[0]?.code);
  // This link uses its own default of 20 s.
  await pingingDialer.received.closed();
  // Put to sleep in the middle of closing it, the object may not have said why.
  expect(['peer_unresponsive', 'link_lost']).toContain(pingingDialer.received.closes[0]?.code);
  pinging.link.sendCopy(FrameType.ping, 0, 0, new Uint8Array(8));
  await pinging.received.until(() => pinging.received.frames.at(-1)?.type === FrameType.pong);
  expect(pinging.received.closes).toEqual([]);
});
