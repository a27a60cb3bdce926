import { describe, expect, it, onTestFinished } from 'vitest';
import { LeaseRenewer } from '../../src/agent/lease-renewer.ts';
import type { Logger } from '../../src/base/log/logger.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { KubeError, type KubeErrorCode } from '../../src/kube/client/kube-error.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { MemoryKubeApi } from '../../testkit/kube/memory-kube-api.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

interface Lease extends KubeObject {
  readonly spec: {
    readonly renewTime: string;
    readonly leaseDurationSeconds: number;
    readonly holderIdentity: string;
  };
}
const lease = { namespace: 'agents', name: 'cluster-proxy' };
const start = Date.parse('2027-01-01T00:00:00Z');

function world(
  parts: { refuse?: KubeErrorCode; withHub?: boolean; random?: number; isAnswered?: boolean } = {},
) {
  const clock = new VirtualClock(100);
  const state = { isAnswered: parts.isAnswered ?? true, refuse: parts.refuse };
  const intercept = () =>
    state.refuse === undefined ? undefined : new KubeError(state.refuse, 'it says no');
  const here = new MemoryKubeApi({ namespaces: ['agents'], intercept });
  const hub = new MemoryKubeApi({ namespaces: ['c1'] });
  const warnings: unknown[] = [];
  const warn = (event: string, fields?: LogFields) =>
    void warnings.push([event, fields?.['reason']]);
  const log: Logger = { ...silentLogger, warn };
  const keeper = new LeaseRenewer({
    lease,
    holder: 'pod-1',
    here,
    hub: parts.withHub === false ? undefined : hub,
    cluster: 'c1',
    isAnswered: async () => state.isAnswered,
    clock,
    log,
    random: () => parts.random ?? 0,
    now: () => new Date(start + clock.now()),
  });
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
    expect(clock.pendingTimers).toBe(0);
  });
  const ref = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
  const peek = (api = here, namespace = 'agents') =>
    api.peek<Lease>({ ...ref, namespace, name: 'cluster-proxy' })?.spec;
  return { clock, state, here, hub, warnings, keeper, peek };
}

describe('The lease of an agent', () => {
  it('The lease of an agent is created, and renewed every minute while the broker answers', async () => {
    const { clock, here, peek, keeper } = world();
    await clock.advance(10);
    expect(peek()).toEqual({
      holderIdentity: 'pod-1',
      leaseDurationSeconds: 60,
      renewTime: '2027-01-01T00:00:00.000000Z',
    });
    await clock.advance(60_000);
    expect(peek()?.renewTime).toBe('2027-01-01T00:01:00.000000Z');
    await clock.advance(120_000);
    expect(here.calls).toHaveLength(4);
    expect(keeper.renewedAt?.getTime()).toBe(start + 180_000);
  });

  it('The lease of an agent is renewed up to a quarter later, at random', async () => {
    const { clock, here } = world({ random: 0.999 });
    await clock.advance(74_000);
    expect(here.calls).toHaveLength(1);
    await clock.advance(1_000);
    expect(here.calls).toHaveLength(2);
  });

  it('The lease of an agent is not renewed while no broker answers, and soon renewed when a broker answers again', async () => {
    const { clock, state, here, peek, warnings } = world({ isAnswered: false });
    await clock.advance(300_000);
    expect(here.calls).toEqual([]);
    expect(warnings).toEqual([['lease not renewed', 'no broker answers through a tunnel']]);
    state.isAnswered = true;
    await clock.advance(5_000);
    expect(here.calls).toHaveLength(1);
    expect(peek()?.renewTime).toBe('2027-01-01T00:05:05.000000Z');
  });

  it.each(['not_served', 'not_found'] as const)(
    'The lease of an agent is renewed on the hub if its own cluster has no such lease (%s)',
    async (refuse) => {
      const { clock, hub, peek } = world({ refuse });
      await clock.advance(10);
      expect(peek(hub, 'c1')).toMatchObject({ holderIdentity: 'pod-1' });
    },
  );

  it('The lease of an agent is not renewed on the hub if its own cluster refuses for another reason', async () => {
    const { clock, hub, warnings, state, peek } = world({ refuse: 'forbidden' });
    await clock.advance(60_000);
    expect(hub.calls).toEqual([]);
    expect(warnings).toEqual([['lease not renewed', 'it says no']]);
    state.refuse = undefined;
    await clock.advance(5_000);
    expect(peek()).toBeDefined();
  });

  it('The lease of an agent is reported as missing without a lease here and without a hub', async () => {
    const { clock, warnings } = world({ refuse: 'not_served', withHub: false });
    await clock.advance(60_000);
    expect(warnings).toEqual([['lease not renewed', 'it says no']]);
  });
});
