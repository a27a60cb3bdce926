import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { type Drainable, runUntilStopped, together } from '../../src/cli/run-until-stopped.ts';

interface Plan {
  readonly drain?: Drainable['drain'];
  readonly drainTimeoutMs?: number;
  /** Awaited while the program starts. */
  readonly starting?: Promise<void>;
}

function running({ drain = async () => {}, drainTimeoutMs = 60_000, starting }: Plan = {}) {
  const signals = new EventEmitter();
  const did: string[] = [];
  const code = runUntilStopped(
    async (parts) => {
      parts.defer(() => void did.push('closed'));
      await starting;
      return {
        async drain(signal) {
          did.push('drain');
          await drain(signal);
          did.push('drained');
        },
      };
    },
    { drainTimeoutMs, signals, log: silentLogger },
  );
  return { signals, did, code };
}

const untilAborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));

describe('runUntilStopped', () => {
  it.each(['SIGTERM', 'SIGINT'])(
    'runUntilStopped drains, closes and exits 0 on %s',
    async (name) => {
      const { signals, did, code } = running();
      expect(did).toEqual([]);
      signals.emit(name, name);
      expect(await code).toBe(0);
      expect(did).toEqual(['drain', 'drained', 'closed']);
    },
  );

  it('runUntilStopped obeys a signal that arrives while the program is starting', async () => {
    const starting = Promise.withResolvers<void>();
    const { signals, did, code } = running({ starting: starting.promise });
    signals.emit('SIGTERM', 'SIGTERM');
    expect(did).toEqual([]);
    starting.resolve();
    expect(await code).toBe(0);
    expect(did).toEqual(['drain', 'drained', 'closed']);
  });

  it('runUntilStopped ends the drain at its limit, and still exits 0', async () => {
    const { signals, did, code } = running({ drain: untilAborted, drainTimeoutMs: 1 });
    signals.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(0);
    expect(did).toEqual(['drain', 'drained', 'closed']);
  });

  it.each([
    ['while it drains', { drain: untilAborted }],
    ['while it starts', { starting: new Promise<void>(() => {}) }],
  ])('runUntilStopped exits 1 at once on a second signal %s', async (_, plan) => {
    const { signals, did, code } = running(plan);
    signals.emit('SIGTERM', 'SIGTERM');
    signals.emit('SIGINT', 'SIGINT');
    expect(await code).toBe(1);
    expect(did).not.toContain('closed');
  });

  it('runUntilStopped exits 1 when the program fails to stop', async () => {
    const { signals, code } = running({ drain: () => Promise.reject(new Error('no')) });
    signals.emit('SIGTERM', 'SIGTERM');
    expect(await code).toBe(1);
  });

  it('runUntilStopped rejects with the error of a failed start, after it has closed the parts that had started', async () => {
    const { signals, did, code } = running({ starting: Promise.reject(new Error('port taken')) });
    await expect(code).rejects.toThrow('port taken');
    expect(did).toEqual(['closed']);
    expect(signals.eventNames()).toEqual([]);
  });

  it('runUntilStopped removes its listeners', async () => {
    const { signals, code } = running();
    expect(signals.eventNames()).toEqual(['SIGTERM', 'SIGINT']);
    signals.emit('SIGTERM', 'SIGTERM');
    await code;
    expect(signals.eventNames()).toEqual([]);
  });
});

describe('together', () => {
  it('together() drains all programs at the same time', async () => {
    const meet = Promise.withResolvers<void>();
    const first: Drainable = { drain: () => meet.promise };
    // The first program waits for the second, so one after the other would never end.
    const second: Drainable = { drain: async () => meet.resolve() };
    const both = together(first, second);
    await expect(both.drain(new AbortController().signal)).resolves.toBeUndefined();
  });
});
