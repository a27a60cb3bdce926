import { startFaultyProxy } from '../network/faulty-proxy.ts';
import type { Fleet } from '../world/fleet.ts';
import { CheckedStream } from './checked-stream.ts';
import { PacedTarget } from './paced-target.ts';
import { dialThrough } from './world.ts';

const fast = 10 * 1024 * 1024;
const halfBytes = 50_000;

/** The party whose connections go dead. */
export const forgettable = ['agent', 'dialer', 'both'] as const;

/**
 * Echoes bytes through a stream, makes the connections that carry it dead, and echoes more bytes.
 * This takes until pings have noticed, about a minute. Resolves with the number of returned bytes,
 * and of links that continued the session.
 */
export async function surviveForgetting(
  fleet: Fleet,
  whose: (typeof forgettable)[number],
): Promise<{ readonly receivedBytes: number; readonly resumedCount: number }> {
  const cluster = `forgotten-${whose}`;
  await using agentNetwork = await startFaultyProxy(fleet.balancer.port);
  await using dialerNetwork = await startFaultyProxy(fleet.balancer.port);
  await using echo = await PacedTarget.echo(['127.0.0.1']);
  await using _agent = await fleet.startAgent(cluster, cluster, { brokerPort: agentNetwork.port });
  const token = await fleet.tokens.issue({ kind: 'dialer', name: 'test' });
  await using dialer = dialThrough(dialerNetwork.port, token);
  const stream = new CheckedStream(dialer, cluster, echo.port);
  await stream.opened;
  await stream.send(halfBytes, fast);
  if (whose !== 'dialer') agentNetwork.forget();
  if (whose !== 'agent') dialerNetwork.forget();
  await stream.send(halfBytes, fast, halfBytes);
  stream.fin();
  await stream.closed;
  return { receivedBytes: stream.receivedBytes, resumedCount: dialer.resumedCount };
}
