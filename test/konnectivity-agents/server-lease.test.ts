import { describe, expect, it } from 'vitest';
import { ServerLease } from '../../src/konnectivity-agents/server-lease.ts';
import { KubeError } from '../../src/kube/client/kube-error.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { MemoryKubeApi } from '../../testkit/kube/memory-kube-api.ts';
import { RecordingLogger } from '../../testkit/link/linked-sessions.ts';

const startMs = Date.parse('2026-01-01T00:00:00Z');
const label = 'k8s-app=konnectivity-server';

function scene(intercept: () => Error | undefined = () => undefined) {
  const clock = new VirtualClock();
  const api = new MemoryKubeApi({ intercept });
  const log = new RecordingLogger();
  const now = () => new Date(startMs + clock.now());
  const start = (serverId = 'a') =>
    new ServerLease({ namespace: 'kube-system', label }, { api, serverId, clock, log, now });
  const leases = async (): Promise<KubeObject[]> => {
    const collection = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
    const { items } = await api.list(collection, { signal: new AbortController().signal });
    return [...items];
  };
  const put = (name: string, spec: object, labels: Record<string, string> = labelsOf(label)) =>
    api.put({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name, namespace: 'kube-system', labels },
      spec,
    });
  return { clock, api, log, start, leases, put };
}

function labelsOf(text: string): Record<string, string> {
  const [key = '', value = ''] = text.split('=');
  return { [key]: value };
}

describe('The Lease of a server', () => {
  it("The Lease of a server has upstream's name, label and times, and is renewed every 15 s", async () => {
    const { clock, start, leases } = scene();
    await using _ = start('server-1');
    await clock.advance(1);
    const [lease] = await leases();
    expect(lease).toMatchObject({
      metadata: {
        name: 'konnectivity-proxy-server-server-1',
        namespace: 'kube-system',
        labels: { 'k8s-app': 'konnectivity-server' },
      },
      spec: {
        holderIdentity: 'server-1',
        leaseDurationSeconds: 30,
        renewTime: '2026-01-01T00:00:00.000000Z',
      },
    });
    await clock.advance(15_000);
    const [renewed] = await leases();
    expect(renewed!['spec']).toMatchObject({ renewTime: '2026-01-01T00:00:15.001000Z' });
  });

  it('The Lease of a server is deleted when the server ends, and no other one', async () => {
    const { clock, start, leases } = scene();
    const ends = start('ends');
    await using _ = start('stays');
    await clock.advance(1);
    expect(await leases()).toHaveLength(2);
    await ends[Symbol.asyncDispose]();
    expect((await leases()).map(({ metadata }) => metadata.name)).toEqual([
      'konnectivity-proxy-server-stays',
    ]);
    await clock.advance(0);
    expect(clock.pendingTimers).toBe(1);
  });

  it('The Lease of a server that is gone is deleted, unless it is valid or has another label', async () => {
    const { clock, start, leases, put } = scene();
    const before = new Date(startMs - 31_000).toISOString();
    const recently = new Date(startMs - 10_000).toISOString();
    put('gone', { renewTime: before, leaseDurationSeconds: 30 });
    put('without-times', { leaseDurationSeconds: 30 });
    put('valid', { renewTime: recently, leaseDurationSeconds: 30 });
    put('acquired', { acquireTime: recently, leaseDurationSeconds: 30 });
    put('foreign', { renewTime: before, leaseDurationSeconds: 30 }, { app: 'another' });
    await using _ = start();
    await clock.advance(1);
    expect((await leases()).map(({ metadata }) => metadata.name).toSorted()).toEqual([
      'acquired',
      'foreign',
      'konnectivity-proxy-server-a',
      'valid',
    ]);
  });

  it('The Lease of a server is renewed again after an API server that does not answer', async () => {
    let isAway = true;
    const away = new KubeError('unavailable', 'the API server does not answer');
    const { clock, log, start, leases } = scene(() => (isAway ? away : undefined));
    await using _ = start();
    await clock.advance(40_000);
    expect(log.lines.filter(({ event }) => event === 'server lease not renewed')).toHaveLength(1);
    isAway = false;
    await clock.advance(15_000);
    expect(await leases()).toHaveLength(1);
  });
});
