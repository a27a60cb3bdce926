import { once } from 'node:events';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { defaultUserLimits } from '../../src/gateway/user-limits.ts';
import { residentBytes } from './attack-cost.ts';
import { GatewayProcesses, type Status } from './gateway-processes.ts';

/** Of one cluster. */
const total = defaultUserLimits.maxLongRunningOfCluster;
const users = 4;
const streamsPerConnection = 250;
const path = '/c1/api/v1/pods?watch=1';

const stack = new AsyncDisposableStack();
let world: GatewayProcesses;
let openCount = 0;

beforeAll(async () => {
  world = stack.use(await GatewayProcesses.start([], { hasHttp2: true }));
  world.answer = (_request, response) => {
    openCount++;
    response.on('close', () => openCount--);
    response.flushHeaders();
  };
});
afterAll(() => stack.disposeAsync());

/** Opens as many watches over one connection; resolves with their statuses. */
async function watch(user: string, count: number): Promise<Status[]> {
  const session = world.connect();
  stack.defer(() => session.destroy());
  const one = async (): Promise<Status> => {
    const stream = session.request({ ':path': path, authorization: `Bearer ${user}` });
    stream.on('error', () => {});
    const [head] = (await once(stream.resume(), 'response')) as [Record<string, unknown>];
    const retryAfter = head['retry-after'] as string | undefined;
    return { status: head[':status'] as number, retryAfter };
  };
  return Promise.all(Array.from({ length: count }, one));
}

it(
  'Thousands of idle watches of a cluster stay open, a further watch gets 429, and another user is served',
  { timeout: 240_000 },
  async () => {
    const memory = async () => [
      await residentBytes(world.broker),
      await residentBytes(world.agent),
    ];
    const before = await memory();
    const statuses = new Set<number | undefined>();
    for (let at = 0; at < total / streamsPerConnection; at++) {
      for (const { status } of await watch(`watcher${at % users}`, streamsPerConnection)) {
        statuses.add(status);
      }
      await world.probe();
    }
    expect([...statuses]).toEqual([200]);
    expect(openCount).toBe(total);
    const after = await memory();
    const [broker, agent] = after.map((bytes, at) => (bytes - before[at]!) / total / 1024);
    console.info(
      `a watch costs ${broker!.toFixed(1)} KiB in the broker with its gateway, ${agent!.toFixed(1)} in the agent`,
    );
    // The goal of an idle watch.
    expect(broker).toBeLessThan(40);
    expect(await watch('another', 1)).toEqual([{ status: 429, retryAfter: '1' }]);
    await world.probe();
    expect(openCount).toBe(total);
  },
);
