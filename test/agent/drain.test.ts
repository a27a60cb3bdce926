import { expect, it } from 'vitest';
import { OpenTargets, type TcpTarget } from '../../src/agent/tcp-target.ts';

const target = (): TcpTarget => ({}) as TcpTarget;

it('waits for every target that still reads, and not for more', async () => {
  const open = new OpenTargets();
  const [first, second] = [target(), target()];
  open.add(first);
  open.add(second);
  let closed = false;
  const waiting = open.closed(new AbortController().signal).then(() => (closed = true));
  open.delete(first);
  open.delete(first);
  await Promise.resolve();
  expect(closed).toBe(false);
  open.delete(second);
  await waiting;
  await open.closed(new AbortController().signal);
});

it('waits no longer than it may', async () => {
  const open = new OpenTargets();
  open.add(target());
  const limit = new AbortController();
  const waiting = open.closed(limit.signal);
  limit.abort();
  await waiting;
  expect(open.size).toBe(1);
});
