import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import {
  defaultLimits,
  type Link,
  type LinkOwner,
  memoryLinkPair,
  Session,
  type SessionOptions,
  silentLogger,
  SlabPool,
  type Stream,
  type StreamHandler,
  systemClock,
  WindowBudget,
} from '../../src/exports/tunnel.ts';

const sessionNumber = 1;

function options(): SessionOptions {
  return {
    clock: systemClock,
    limits: defaultLimits,
    pool: new SlabPool(),
    budget: new WindowBudget(defaultLimits.sessionBudgetBytes),
    log: silentLogger,
  };
}

/** Gives the frames of a link to a session, and the other way round. */
function ownerOf(session: Session, link: Link): LinkOwner {
  return {
    onData: (_, stream, bytes) => session.onData(stream, bytes),
    onFrame: (type, _, stream, payload) => session.onFrame(type, stream, payload),
    pull: () => {
      while (link.room > 0 && session.pullFrame());
    },
    onClose: () => session.detach(),
  };
}

it('A program that imports culvert/tunnel alone makes two sessions, whose streams carry bytes', async () => {
  const echo = (stream: Stream): StreamHandler => {
    queueMicrotask(() => stream.accept());
    return {
      onData: (bytes) => {
        stream.write(bytes);
        stream.consumed(bytes.length);
      },
      onFin: () => stream.fin(),
      onWritable() {},
      onClose() {},
    };
  };
  const sessions = [
    new Session(options()),
    new Session({ ...options(), accept: (_, stream) => echo(stream) }),
  ];
  for (const [at, link] of memoryLinkPair(setImmediate).entries()) {
    link.attach(ownerOf(sessions[at]!, link));
    sessions[at]!.attach(link, sessionNumber, (now) => link.wake(now));
  }

  let received = '';
  const ended = Promise.withResolvers<unknown>();
  const target = { kind: 'tcp', host: 'echo', port: 7 } as const;
  const stream = sessions[0]!.open({ target, timeoutMs: 0 }, () => ({
    onData: (bytes) => void (received += Buffer.from(bytes).toString()),
    onFin() {},
    onWritable() {},
    onClose: (error) => ended.resolve(error),
  }));
  stream.write(Buffer.from('hello'));
  stream.fin();
  expect(await ended.promise).toBeUndefined();
  expect(received).toBe('hello');
  await nextTurn();
  expect(sessions.map(({ streamCount }) => streamCount)).toEqual([0, 0]);
});
