import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/logger.ts';
import { type RunningProgram, runUntilStopped, together } from '../../src/cli/run-until-stopped.ts';

function started(drain: RunningProgram['drain'], drainTimeoutMs = 60_000) {
  const signals = new EventEmitter();
  const did: string[] = [];
  const program: RunningProgram = {
    async drain(signal) {
      did.push('drain');
      await drain(signal);
      did.push('drained');
    },
    async close() {
      did.push('closed');
    },
  };
  const code = runUntilStopped(program, { drainTimeoutMs, signals, log: silentLogger });
  return { signals, did, code };
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));

describe('runUntilStopped', () => {
  it.each(['SIGTERM', 'SIGINT'])('drains, closes and exits 0 on %s', async (name) => {
    const { signals, did, code } = started(async () => {});
    expect(did).toEqual([]);
    signals.emit(name, name);
    expect(await code).toBe(0);
    expect(did).toEqual(['drain', 'drained', 'closed']);
  });

  it('cuts the drain short at its limit, and still exits 0', async () => {
    const { signals, did, code } = started(untilAborted, 1);
    signals.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(0);
    expect(did).toEqual(['drain', 'drained', 'closed']);
  });

  it('exits 1 at once on a second signal', async () => {
    const { signals, did, code } = started(() => new Promise(() => {}));
    signals.emit('SIGTERM', 'SIGTERM');
    signals.emit('SIGINT', 'SIGINT');
    expect(await code).toBe(1);
    expect(did).toEqual(['drain']);
  });

  it('exits 1 when stopping fails', async () => {
    const { signals, code } = started(() => Promise.reject(new Error('no')));
    signals.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(1);
  });

  it('leaves no listener behind', async () => {
    const { signals, code } = started(async () => {});
    signals.emit('SIGTERM', 'SIGTERM');
    await code;
    expect(signals.eventNames()).toEqual([]);
  });
});

describe('together', () => {
  it('drains all at the same time and closes in order', async () => {
    const did: string[] = [];
    const meet = Promise.withResolvers<void>();
    const first: RunningProgram = {
      drain: () => meet.promise,
      close: async () => void did.push('first closed'),
    };
    const second: RunningProgram = {
      // Would wait for ever if it came only after the first.
      drain: async () => meet.resolve(),
      close: async () => void did.push('second closed'),
    };
    const both = together(first, second);
    await both.drain(new AbortController().signal);
    await both.close();
    expect(did).toEqual(['first closed', 'second closed']);
  });
});
