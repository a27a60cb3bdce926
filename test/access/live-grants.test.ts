import { describe, expect, it } from 'vitest';
import { AccessError } from '../../src/access/access-error.ts';
import { denied, type Verdict, allowed } from '../../src/access/authorizer.ts';
import { LiveGrants } from '../../src/access/live-grants.ts';
import type { Subject } from '../../src/access/subject.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

function world() {
  const clock = new VirtualClock(20);
  const listeners: (() => void)[] = [];
  const refused = new Map<string, Verdict | AccessError>();
  const asked: string[] = [];
  const grants = new LiveGrants({
    clock,
    now: () => clock.now(),
    authorizer: {
      async authorize({ user }) {
        asked.push(user);
        const verdict = refused.get(user) ?? allowed;
        if (verdict instanceof AccessError) throw verdict;
        return verdict;
      },
      onChange: (listener) => void listeners.push(listener),
    },
  });
  const ended: string[] = [];
  const add = (user: string, fields: Partial<Subject> = {}) => {
    const subject: Subject = { user, groups: [], source: 'oidc', ...fields };
    const end = (reason: string) => ended.push(`${user}: ${reason}`);
    const grant = { subject, cluster: 'c', action: { kind: 'session' } as const, end };
    grants.add(grant);
    return grant;
  };
  const change = () => listeners.forEach((listener) => listener());
  return { clock, refused, asked, grants, ended, add, change };
}

describe('Sessions that were allowed', () => {
  it('A session ends when a change of the rules forbids it, and others stay', async () => {
    const { clock, refused, grants, ended, add, change } = world();
    for (let number = 0; number < 100; number++) add(`user-${number}`);
    refused.set('user-42', denied('the token is revoked'));
    change();
    await clock.advance(0);
    expect(ended).toEqual(['user-42: the token is revoked']);
    expect(grants.size).toBe(99);
  });

  it('A session ends within 5 s of the expiry of its credential', async () => {
    const { clock, ended, add } = world();
    add('late', { expiresAtMs: 7_000 });
    add('later', { expiresAtMs: 70_000 });
    add('never');
    await clock.advance(7_000);
    expect(ended).toEqual([]);
    await clock.advance(5_000);
    expect(ended).toEqual(['late: the credential has expired']);
    await clock.advance(100_000);
    expect(ended).toHaveLength(2);
  });

  it('A session is authorized again within a minute without a change of the rules', async () => {
    const { clock, refused, ended, add } = world();
    add('alice');
    refused.set('alice', denied('the label of the cluster is gone'));
    await clock.advance(59_000);
    expect(ended).toEqual([]);
    await clock.advance(6_000);
    expect(ended).toEqual(['alice: the label of the cluster is gone']);
  });

  it('A session stays while it cannot be decided', async () => {
    const { clock, refused, ended, add, change } = world();
    add('alice');
    refused.set('alice', new AccessError('unavailable', 'the hub is away'));
    change();
    await clock.advance(120_000);
    expect(ended).toEqual([]);
    refused.set('alice', denied('no'));
    await clock.advance(65_000);
    expect(ended).toEqual(['alice: no']);
  });

  it('A session that is added during a check is checked, too', async () => {
    const { clock, refused, ended, add, change } = world();
    add('first');
    refused.set('second', denied('no'));
    change();
    add('second');
    await clock.advance(0);
    expect(ended).toEqual(['second: no']);
  });

  it('A session that was allowed before a change of the rules is checked when it is added after it', async () => {
    const { clock, refused, asked, ended, add, change } = world();
    refused.set('late', denied('the token is revoked'));
    change();
    await clock.advance(10_000);
    add('late');
    await clock.advance(0);
    expect(ended).toEqual(['late: the token is revoked']);
    await clock.advance(60_000);
    asked.length = 0;
    add('later');
    await clock.advance(0);
    expect(asked).toEqual([]);
  });

  it('A session that has ended by itself is not ended again, and no timer remains', async () => {
    const { clock, refused, grants, ended, add, change } = world();
    const grant = add('alice', { expiresAtMs: 1_000 });
    refused.set('alice', denied('no'));
    grants.remove(grant);
    change();
    await clock.advance(10_000);
    expect(ended).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});
