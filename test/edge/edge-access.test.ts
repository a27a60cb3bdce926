import { expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { DialerToken } from '../../src/base/tokens/token-subject.ts';
import { DialerAccess } from '../../src/broker/dialer-access.ts';
import {
  credentialFor,
  openEdgeAccess,
  sessionProblem,
} from '../../src/broker/edge/edge-access.ts';
import { HubLabels } from '../../src/gateway/edge/hub-labels.ts';

const many = Array.from({ length: 5_000 }, (_, index) => `cluster-${index}`);

it.each<[string, DialerToken, number | undefined]>([
  ['a token for all clusters', { name: 'a' }, undefined],
  [
    'a token that names the cluster among many',
    { name: 'a', clusters: ['c1', ...many] },
    undefined,
  ],
  ['a token for other clusters', { name: 'a', clusters: many }, 403],
  ['a token with a selector, and no hub', { name: 'a', selector: 'env=prod' }, 403],
])(
  'The part of a token that a socket keeps decides as the token does: %s',
  async (_, token, status) => {
    const kept = credentialFor('c1', token);
    expect(JSON.stringify(kept).length).toBeLessThan(200);
    const access = openEdgeAccess({ policy: undefined, hub: undefined, asksHubAccess: false });
    using rights = new DialerAccess({ clock: systemClock, ...access });
    const refusals = [token, kept].map((one) => rights.refusal({ kind: 'dialer', ...one }, 'c1'));
    expect((await Promise.all(refusals)).map((refusal) => refusal?.status)).toEqual([
      status,
      status,
    ]);
  },
);

it('An open session ends when its token has expired or the rules forbid it, and not while nobody can tell', async () => {
  const rule = { name: 'r', subjects: { tokens: ['a'] }, allow: [{ sessions: true }] };
  const policy = { rules: [{ ...rule, clusters: { names: ['c1'] } }] };
  const access = openEdgeAccess({ policy, hub: undefined, asksHubAccess: false });
  using rights = new DialerAccess({ clock: systemClock, ...access });
  const codeOf = async (token: DialerToken, cluster: string, of = rights) =>
    (await sessionProblem(of, token, cluster))?.code;
  expect(await codeOf({ name: 'a' }, 'c1')).toBe(undefined);
  expect(await codeOf({ name: 'a', expiresAtMs: Date.now() - 1 }, 'c1')).toBe('draining');
  expect(await codeOf({ name: 'b' }, 'c1')).toBe('forbidden');
  expect(await codeOf({ name: 'a' }, 'c2')).toBe('forbidden');
  const clusters = new HubLabels({
    clock: systemClock,
    readLabels: () => Promise.reject(new Error('the hub is away')),
  });
  using uncertain = new DialerAccess({ clock: systemClock, clusters });
  expect(await codeOf({ name: 'a', selector: 'env=prod' }, 'c1', uncertain)).toBe(undefined);
});
