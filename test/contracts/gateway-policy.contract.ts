import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { GatewayUnderTest } from './gateway.contract.ts';

const policy = `rules:
  - name: jane reads pods
    subjects: { users: [jane] }
    clusters: { names: [c1] }
    allow: [{ kube: { verbs: [get, list], resources: [pods], namespaces: [shop] } }]
  - name: admins
    subjects: { groups: [admins] }
    clusters: { names: ['c*'] }
    allow: [{ all: true }]
  - name: another cluster
    subjects: { users: [bob] }
    clusters: { names: [c2] }
    allow: [{ all: true }]
  - name: over
    subjects: { users: [late] }
    clusters: { names: [c1] }
    allow: [{ all: true }]
    until: 2020-01-01T00:00:00Z
`;

/** Answers TokenReviews: `NAME.GROUP` is the token of a user. All other requests succeed. */
const reviewing: RequestListener = (request, response) => {
  let text = '';
  request.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  request.on('end', () => {
    response.setHeader('Content-Type', 'application/json');
    if (!request.url!.endsWith('/tokenreviews')) {
      response.end('{"kind":"PodList"}');
      return;
    }
    const { spec } = JSON.parse(text) as { readonly spec: { readonly token: string } };
    const [username, group = 'none'] = spec.token.split('.');
    const status = { authenticated: true, user: { username, groups: [group] } };
    response.statusCode = 201;
    response.end(JSON.stringify({ kind: 'TokenReview', status }));
  });
};

/** The verdicts of a policy, which are the same on any runtime. */
export function describeGatewayPolicy(
  name: string,
  start: (policy: string) => Promise<GatewayUnderTest>,
): void {
  describe(`The policy of a gateway: ${name}`, () => {
    let world: GatewayUnderTest;
    beforeAll(async () => {
      world = await start(policy);
      world.answer = reviewing;
    }, 60_000);
    afterAll(() => world?.[Symbol.asyncDispose]());

    it.each([
      ['jane lists pods in her namespace', 'jane', 'GET', '/api/v1/namespaces/shop/pods', 200],
      ['jane deletes a pod', 'jane', 'DELETE', '/api/v1/namespaces/shop/pods/a', 403],
      ['jane lists pods elsewhere', 'jane', 'GET', '/api/v1/namespaces/other/pods', 403],
      ['jane lists the pods of all namespaces', 'jane', 'GET', '/api/v1/pods', 403],
      ['jane opens a shell', 'jane', 'GET', '/api/v1/namespaces/shop/pods/a/exec', 403],
      ['an admin deletes a node', 'root.admins', 'DELETE', '/api/v1/nodes/a', 200],
      ['a user of another cluster asks', 'bob', 'GET', '/version', 403],
      ['a user whose rule is over asks', 'late', 'GET', '/version', 403],
      ['a user without rules asks', 'ann', 'GET', '/version', 403],
      ['nobody asks', undefined, 'GET', '/version', 403],
    ] as const)('A policy decides when %s', async (_, token, method, path, code) => {
      const authorization = token === undefined ? {} : { Authorization: `Bearer ${token}` };
      const response = await fetch(`${world.url}/c1${path}`, { method, headers: authorization });
      const answer = (await response.json()) as object;
      const forbidden = {
        ...{ kind: 'Status', code: 403, reason: 'Forbidden' },
        message: expect.stringContaining('no rule of the policy allows') as string,
      };
      expect(response.status).toBe(code);
      expect(answer).toMatchObject(code === 403 ? forbidden : { kind: 'PodList' });
    });
  });
}
