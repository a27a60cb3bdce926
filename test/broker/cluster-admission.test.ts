import { describe, expect, it, onTestFinished } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { ClusterAdmission } from '../../src/broker/cluster-admission.ts';
import type { Identity } from '../../src/broker/authenticator.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { ManagedClusters } from '../../src/access/node/managed-clusters.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { LinkOwner } from '../../src/tunnel/link.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { encodeMessage, protocolVersion } from '../../src/tunnel/message.ts';
import { MemoryKubeApi, ocmKinds } from '../../testkit/kube/memory-kube-api.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const apiVersion = 'cluster.open-cluster-management.io/v1';
const forced = { signal: new AbortController().signal, force: true };

function managedCluster(name: string, hubAcceptsClient: boolean): KubeObject {
  return { apiVersion, kind: 'ManagedCluster', metadata: { name }, spec: { hubAcceptsClient } };
}

type AgentIdentity = Extract<Identity, { readonly kind: 'agent' }>;
const registered = (cluster: string): AgentIdentity => ({
  kind: 'agent',
  cluster,
  registered: true,
});
const enrolled = (cluster: string): AgentIdentity => ({ kind: 'agent', cluster });

/** A hub whose API server accepts c1 and c2 and has seen c3; and a broker that listens to it. */
function world() {
  const clock = new VirtualClock(100);
  const api = new MemoryKubeApi({ kinds: ocmKinds });
  for (const [name, accepted] of [
    ['c1', true],
    ['c2', true],
    ['c3', false],
  ] as const)
    api.put(managedCluster(name, accepted));
  const clusters = new ManagedClusters(api, { clock, log: silentLogger });
  const relay = new Relay({
    replica: 'r',
    address: '',
    directory: new MemoryDirectory(),
    clock,
    log: silentLogger,
    maxTunnelAgeMs: Infinity,
  });
  const acceptance = new ClusterAdmission(clusters, { tunnels: relay, clock, log: silentLogger });
  onTestFinished(async () => {
    acceptance.close();
    await clusters.close();
  });
  /** An agent's tunnel that has been let in as `identity`; says HELLO when it is told to. */
  const tunnel = (identity: AgentIdentity, agent = 'a') => {
    const [near, far] = memoryLinkPair(queueMicrotask);
    const state: { closedBy: string | undefined } = { closedBy: undefined };
    const owner: LinkOwner = {
      onData() {},
      onFrame() {},
      pull() {},
      onClose: (error) => (state.closedBy = error?.code ?? 'closed'),
    };
    near.attach(owner);
    const client = { ...identity, agent, tunnel: 0 };
    acceptance.admitted(client, far);
    relay.admit(far, client);
    const hello = () =>
      near.sendCopy(FrameType.hello, 0, 0, encodeMessage({ ...protocolVersion, software: 't' }));
    return { state, hello };
  };
  const set = (name: string, accepted: boolean) =>
    api.apply(managedCluster(name, accepted), forced);
  const remove = (name: string) => api.delete({ apiVersion, kind: 'ManagedCluster', name }, forced);
  return { clock, api, acceptance, tunnel, set, remove };
}

describe('A registered agent', () => {
  it('A registered agent is admitted while the hub cluster accepts its cluster', async () => {
    const { clock, acceptance } = world();
    await clock.advance(10);
    expect(acceptance.refusal(registered('c1'))).toBeUndefined();
    expect(acceptance.refusal(registered('c3'))).toMatch(/^the hub does not accept cluster c3; /);
    expect(acceptance.refusal(registered('never-heard-of'))).toContain(
      'its ManagedCluster is gone',
    );
  });

  it.each([
    ['is accepted no longer', (w: ReturnType<typeof world>) => w.set('c1', false)],
    ['is removed', (w: ReturnType<typeof world>) => w.remove('c1')],
  ])('loses its tunnel at once when its cluster %s, and nobody else does', async (_, revoke) => {
    const w = world();
    await w.clock.advance(10);
    const [own, other] = [w.tunnel(registered('c1')), w.tunnel(registered('c2'))];
    own.hello();
    other.hello();
    await w.clock.advance(10);
    await revoke(w);
    await w.clock.advance(1_000);
    expect([own.state.closedBy, other.state.closedBy]).toEqual(['forbidden', undefined]);
    expect(w.acceptance.refusal(registered('c1'))).toBeDefined();
    await w.set('c1', true);
    await w.clock.advance(1_000);
    expect(w.acceptance.refusal(registered('c1'))).toBeUndefined();
  });

  it('A registered agent loses its tunnel within a minute if its HELLO came after its cluster was revoked', async () => {
    const w = world();
    await w.clock.advance(10);
    const late = w.tunnel(registered('c1'));
    await w.set('c1', false);
    await w.clock.advance(1_000);
    late.hello();
    await w.clock.advance(1_000);
    expect(late.state.closedBy).toBeUndefined();
    await w.clock.advance(30_000);
    expect(late.state.closedBy).toBe('forbidden');
  });

  it('A registered agent is admitted before the hub cluster has answered, and checked again afterwards', async () => {
    const w = world();
    w.api.goAway();
    await w.clock.advance(60_000);
    expect(w.acceptance.refusal(registered('c3'))).toBeUndefined();
    const early = w.tunnel(registered('c3'));
    early.hello();
    await w.clock.advance(60_000);
    expect(early.state.closedBy).toBeUndefined();
    w.api.comeBack();
    await w.clock.advance(60_000);
    expect(early.state.closedBy).toBe('forbidden');
  });

  it('A registered agent keeps its tunnel while the API server is away', async () => {
    const w = world();
    await w.clock.advance(10);
    const own = w.tunnel(registered('c1'));
    own.hello();
    w.api.goAway();
    await w.clock.advance(300_000);
    expect(own.state.closedBy).toBeUndefined();
    expect(w.acceptance.refusal(registered('c1'))).toBeUndefined();
    expect(w.acceptance.refusal(registered('c3'))).toBeDefined();
    w.api.comeBack();
    await w.set('c1', false);
    await w.clock.advance(60_000);
    expect(own.state.closedBy).toBe('forbidden');
  });
});

describe('An agent with an enrolment token', () => {
  it('An agent with an enrolment token is admitted and stays, whatever ManagedClusters there are', async () => {
    const w = world();
    await w.clock.advance(10);
    expect(w.acceptance.refusal(enrolled('c3'))).toBeUndefined();
    const own = w.tunnel(enrolled('c1'));
    own.hello();
    await w.clock.advance(10);
    await w.remove('c1');
    await w.clock.advance(60_000);
    expect(own.state.closedBy).toBeUndefined();
  });
});
