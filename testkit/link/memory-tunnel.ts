import { AgentTunnel } from '../../src/acceptor/agent-tunnel.ts';
import { SessionStore } from '../../src/acceptor/session-store.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { Relay } from '../../src/broker/relay.ts';
import { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { defaultLimits } from '../../src/tunnel/limits.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { Session } from '../../src/tunnel/session.ts';
import type { StreamHandler } from '../../src/tunnel/stream-handler.ts';
import type { SessionOptions } from '../../src/tunnel/session-options.ts';
import { SlabPool } from '../../src/tunnel/slab.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';

export interface MemoryTunnel extends AsyncDisposable {
  /** Reaches the acceptor as cluster `c1`. */
  readonly dialer: PooledDialer;
}

type AcceptStream = (
  ...args: [...Parameters<NonNullable<SessionOptions['accept']>>, isGateway: boolean]
) => StreamHandler;

/**
 * A dialer, a broker and an acceptor in this process, on real time, joined by function calls.
 *
 * @param accept decides about each stream at the acceptor, which knows whether the dialer is a
 *   gateway
 */
export async function startMemoryTunnel(
  accept: AcceptStream,
  { isGateway = false }: { readonly isGateway?: boolean } = {},
): Promise<MemoryTunnel> {
  const [clock, log] = [systemClock, silentLogger];
  const directory = new MemoryDirectory();
  const relay = new Relay({ replica: 'r1', address: '', directory, clock, log });
  const sessions = new SessionStore({
    clock,
    log,
    resumeGraceMs: defaultLimits.resumeGraceMs,
    makeSession: (sessionLog, events, isKnownGateway) =>
      new Session({
        clock,
        limits: defaultLimits,
        pool: new SlabPool(),
        budget: new WindowBudget(2 ** 30),
        log: sessionLog,
        accept: (request, stream) => accept(request, stream, isKnownGateway),
        ...events,
      }),
  });
  const welcome = Promise.withResolvers<void>();
  const [near, far] = memoryLinkPair(queueMicrotask);
  relay.admit(far, { kind: 'agent', cluster: 'c1', agent: 'a', tunnel: 0 });
  const tunnel = new AgentTunnel(near, {
    software: 'test',
    sessions,
    onWelcome: () => welcome.resolve(),
    onGoAway() {},
    onClosed() {},
  });
  await welcome.promise;
  const dialer = new PooledDialer({
    connect: async (cluster) => {
      const [mine, theirs] = memoryLinkPair(queueMicrotask);
      const role = isGateway ? ({ isGateway } as const) : {};
      relay.admit(theirs, { kind: 'dialer', cluster, dialer: 'test', ...role });
      return mine;
    },
    clock,
    log,
    software: 'test',
  });
  return {
    dialer,
    async [Symbol.asyncDispose]() {
      dialer.close();
      tunnel.link.close();
    },
  };
}
