import { describe, expect, it } from 'vitest';
import { AccessError } from '../../src/access/access-error.ts';
import { Policy } from '../../src/access/policy.ts';
import type { WatchedAuthorizer } from '../../src/access/watched-authorizer.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import { DialerAccess } from '../../src/broker/dialer-access.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { Relay } from '../../src/broker/relay.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

const labels: Readonly<Record<string, Record<string, string>>> = {
  c1: { env: 'prod' },
  c2: { env: 'test' },
};
const clusters = { labelsOf: (name: string) => labels[name], names: () => Object.keys(labels) };
const ci = { kind: 'dialer', name: 'ci', id: 'ci-1' } as const;

/** Rules that a test replaces. */
class TestRules implements WatchedAuthorizer {
  readonly #listeners: (() => void)[] = [];
  #policy: Policy;

  constructor(document: object) {
    this.#policy = Policy.parse(document, { clusters, now: () => 0 });
  }

  authorize(...[subject, cluster, action]: Parameters<WatchedAuthorizer['authorize']>) {
    return this.#policy.authorize(subject, cluster, action);
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  change(document: object): void {
    this.#policy = Policy.parse(document, { clusters, now: () => 0 });
    for (const listener of this.#listeners) listener();
  }
}

const ruleFor = (tokens: string[], of: object) => ({
  name: 'r',
  subjects: { tokens },
  clusters: of,
  allow: [{ sessions: true }],
});

describe('A dialer token', () => {
  it.each([
    [{}, 'c1', undefined],
    [{ clusters: ['c1'] }, 'c1', undefined],
    [{ clusters: ['c1'] }, 'c2', 'the token of ci is not for cluster c2'],
    [{ selector: 'env=test' }, 'c2', undefined],
    [{ selector: 'env=test' }, 'c1', 'is not for cluster c1, whose labels do not fit'],
    [{ selector: 'env=test' }, 'c3', 'is not for cluster c3, whose labels are not known here'],
    [{ selector: '!env' }, 'c3', 'whose labels are not known here'],
    [{ selector: 'not a selector' }, 'c1', 'whose labels do not fit'],
    [{ clusters: ['c1'], selector: 'env=test' }, 'c1', undefined],
    [{ clusters: ['c1'], selector: 'env=test' }, 'c2', undefined],
  ])('A dialer token for %j at the cluster %s', async (scope, cluster, problem) => {
    using access = new DialerAccess({ clock: new VirtualClock(), clusters });
    const byName = await access.refusal({ ...ci, ...scope }, cluster);
    const byAlias = await access.refusal({ ...ci, ...scope }, await clusterAlias(cluster));
    expect(byName?.message.includes(problem ?? '')).toBe(problem === undefined ? undefined : true);
    expect(byName?.status).toBe(problem === undefined ? undefined : 403);
    expect(byAlias?.status).toBe(problem === undefined ? undefined : 403);
  });

  it('A dialer token needs a rule where there are rules, and stays in its scope', async () => {
    const authorizer = new TestRules({ rules: [ruleFor(['ci'], { names: ['c1', 'c2'] })] });
    using access = new DialerAccess({ clock: new VirtualClock(), clusters, authorizer });
    expect(await access.refusal(ci, 'c1')).toBeUndefined();
    expect(await access.refusal({ ...ci, clusters: ['c2'] }, 'c1')).toMatchObject({ status: 403 });
    expect(await access.refusal({ ...ci, name: 'other' }, 'c1')).toEqual({
      status: 403,
      code: 'forbidden_cluster',
      message: 'no rule of the policy allows token "other" to open sessions in cluster c1',
    });
  });

  it('A dialer token waits while it cannot be decided', async () => {
    const away = {
      authorize: () => Promise.reject(new AccessError('unavailable', 'the hub is away')),
      onChange: () => {},
    };
    using access = new DialerAccess({ clock: new VirtualClock(), authorizer: away });
    expect(await access.refusal(ci, 'c1')).toMatchObject({ status: 503, code: 'unavailable' });
  });
});

describe('A session of a dialer token', () => {
  function world(authorizer?: TestRules) {
    const clock = new VirtualClock(20);
    const relay = new Relay({
      ...{ replica: 'r', address: '', directory: new MemoryDirectory(), clock },
      log: silentLogger,
    });
    const access = new DialerAccess({ clock, authorizer, clusters, now: () => clock.now() });
    const ends: (TunnelError | undefined)[] = [];
    const dial = (dialer: Parameters<DialerAccess['watch']>[0], cluster = 'c1') => {
      const [near, far] = memoryLinkPair(queueMicrotask);
      near.attach({
        onData: () => {},
        onFrame: () => {},
        pull: () => {},
        onClose: (error) => void ends.push(error),
      });
      const watch = access.watch.bind(access, dialer, cluster);
      relay.admit(far, { kind: 'dialer', cluster, dialer: dialer.name, watch });
      return near;
    };
    return { clock, relay, access, ends, dial };
  }

  it('A session ends within 5 s of the expiry of its token, and can resume with a new token', async () => {
    const { clock, ends, dial } = world();
    dial({ ...ci, expiresAtMs: 3_000 });
    await clock.advance(2_999);
    expect(ends).toEqual([]);
    await clock.advance(5_001);
    expect(ends).toMatchObject([{ code: 'draining', message: 'the credential has expired' }]);
  });

  it('A session ends when its token is revoked, and others stay', async () => {
    const rules = [ruleFor(['*'], { names: ['*'] })];
    const authorizer = new TestRules({ rules });
    const { clock, ends, relay, dial } = world(authorizer);
    dial(ci);
    dial({ ...ci, id: 'ci-2' });
    authorizer.change({ rules, revoked: { tokens: ['ci-1'] } });
    await clock.advance(0);
    expect(ends).toMatchObject([{ code: 'forbidden', message: 'the token is revoked' }]);
    expect(relay.status().dialers).toBe(1);
  });

  it('A session ends within 65 s when the labels of its cluster no longer fit its token', async () => {
    const { clock, ends, dial } = world();
    dial({ ...ci, selector: 'env=prod' });
    const { env } = labels['c1']!;
    labels['c1']!['env'] = 'other';
    // A link without HELLO would be closed before.
    await clock.advance(65_000);
    labels['c1']!['env'] = env!;
    expect(ends.length).toBe(1);
  });

  it('A session that has ended is not watched any more', async () => {
    const { clock, dial } = world();
    const near = dial({ ...ci, expiresAtMs: 3_000 });
    near.close();
    await clock.advance(20_000);
    expect(clock.pendingTimers).toBe(0);
  });
});
