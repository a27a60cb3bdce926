import { describe, expect, it } from 'vitest';
import { AccessError } from '../../src/access/access-error.ts';
import { AuthenticationChain } from '../../src/access/authentication-chain.ts';
import { KubeTokenAuthenticator } from '../../src/access/kube-token-authenticator.ts';
import { Policy } from '../../src/access/policy.ts';
import type { Authentication, RequestCredentials } from '../../src/access/request-authenticator.ts';
import { allOf, denied } from '../../src/access/authorizer.ts';
import type { Action } from '../../src/access/action.ts';
import type { Grant } from '../../src/access/live-grants.ts';
import { AccessReviewAuthorizer } from '../../src/access/subject-access-review.ts';
import type { Subject } from '../../src/access/subject.ts';
import { ExposedServices } from '../../src/gateway/exposed-services.ts';
import type { IncomingRequest } from '../../src/gateway/admitted-request.ts';
import { GatewayError } from '../../src/gateway/gateway-error.ts';
import type { HeaderList } from '../../src/http-exchange/http-exchange.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { testGateway, type TestGatewayOptions } from './test-gateway.ts';

const never = new AbortController().signal;
const ann: Subject = { user: 'ann', groups: ['dev'], source: 'hub-token' };
const client = { address: '10.1.1.1', scheme: 'https', host: 'gw', isTrustedProxy: false } as const;
const bearer: HeaderList = [['Authorization', 'Bearer secret']];
const servicePath = '/c1/api/v1/namespaces/n/services/http:s:80/proxy-service/a';

function request(target: string, headers: HeaderList = bearer): IncomingRequest {
  return { method: 'GET', target, headers, client, hasBody: false };
}

async function admit(target: string, options: TestGatewayOptions = {}, headers = bearer) {
  const { gateway } = testGateway(options);
  const incoming = request(target, headers);
  return await gateway.admit(incoming, gateway.begin(incoming), never);
}

/** The names of the fields that the server receives. */
async function forwardedNames(target: string, options: TestGatewayOptions, headers = bearer) {
  const { exchange } = await admit(target, options, headers);
  return exchange.head.headers.map(([name]) => name).filter((name) => !/^(X-|Host)/.test(name));
}

/** An authenticator with one answer, and the credentials that it was asked for. */
function answering(answer: Authentication | AccessError) {
  const asked: RequestCredentials[] = [];
  return {
    asked,
    authenticate: async (credentials: RequestCredentials) => {
      asked.push({ ...credentials, headerNames: [...credentials.headerNames] });
      if (answer instanceof AccessError) throw answer;
      return answer;
    },
  };
}

const hubUser = answering({ kind: 'impersonate', subject: ann, user: 'ann', groups: ['dev'] });
const refusing = answering(new AccessError('unauthenticated', 'authentication failed: no'));
const exposed = (hubTokens = false) =>
  new ExposedServices([{ namespace: 'n', service: 's', hubTokens }]);

describe('The admission of a request', () => {
  it('The admission forwards credentials that it does not check', async () => {
    const { exchange } = await admit('/c1/api/v1/pods?limit=1');
    expect(exchange).toMatchObject({
      cluster: 'c1',
      server: { kind: 'kube-apiserver' },
      credentials: 'caller',
      head: { method: 'GET', path: '/api/v1/pods?limit=1' },
      hasBody: false,
      caller: undefined,
    });
    expect(exchange.head.headers).toContainEqual(bearer[0]);
  });

  it('The admission replaces the token of a hub user by impersonation', async () => {
    const { exchange } = await admit('/c1/version', { authenticator: hubUser });
    expect(exchange).toMatchObject({
      credentials: 'agent',
      caller: { user: 'ann', groups: ['dev'] },
    });
    const names = exchange.head.headers.map(([name]) => name);
    expect(names).toContain('Impersonate-User');
    expect(names).not.toContain('Authorization');
  });

  it('The admission answers 401 in the words of the authenticator', async () => {
    await expect(admit('/c1/version', { authenticator: refusing })).rejects.toMatchObject({
      reason: 'Unauthorized',
      message: 'authentication failed: no',
    });
  });

  it('The admission answers 503, or 404 for an unknown cluster, if no agent can review the token', async () => {
    const lost = new AccessError('unavailable', 'no answer', {
      cause: new TunnelError('no_agent', 'no agent is connected'),
    });
    const authenticator = answering(lost);
    await expect(admit('/c1/version', { authenticator })).rejects.toMatchObject({
      reason: 'ServiceUnavailable',
      code: 503,
    });
    const unknown = { authenticator, isKnownCluster: () => false };
    await expect(admit('/c1/version', unknown)).rejects.toMatchObject({
      reason: 'NotFound',
      code: 404,
    });
  });

  it('The admission asks the authorizer about the action, and names it in a 403', async () => {
    const actions: Action[] = [];
    const authorizer = {
      authorize: async (_subject: Subject, _cluster: string, action: Action) => {
        actions.push(action);
        return denied('no rule allows it');
      },
    };
    const options = { authenticator: hubUser, authorizer };
    await expect(admit('/c1/api/v1/namespaces/n/pods/p/log', options)).rejects.toMatchObject({
      reason: 'Forbidden',
      message:
        'pods/log "p" is forbidden: User "ann" cannot get resource "pods/log" in API group "" in the namespace "n" of cluster "c1": no rule allows it',
    });
    expect(actions[0]).toMatchObject({ kind: 'kube', verb: 'get', subresource: 'log' });
    await expect(admit('/c1/version', options)).rejects.toThrow('cannot get path "/version"');
  });

  it('A watch is ended by its grant, and other requests have none', async () => {
    const grants = new Set<Grant>();
    const { gateway } = testGateway({
      authenticator: hubUser,
      grants: { add: (grant) => void grants.add(grant), remove: (grant) => grants.delete(grant) },
    });
    const start = async (target: string) => {
      const record = gateway.begin(request(target));
      await gateway.admit(request(target), record, never);
      return record;
    };
    await start('/c1/api/v1/pods');
    expect(grants.size).toBe(0);
    const record = await start('/c1/api/v1/pods?watch=1');
    const reasons: string[] = [];
    record.owner = { onRevoked: (reason) => reasons.push(reason) };
    const [grant] = grants;
    expect(grant).toMatchObject({ subject: ann, cluster: 'c1', action: { verb: 'watch' } });
    grant!.end('revoked', 'denied');
    expect(reasons).toEqual(['revoked']);
    record.end(false);
    expect(grants.size).toBe(0);
  });

  it('The admission refuses while the authorizer cannot decide', async () => {
    const authorizer = {
      authorize: () => Promise.reject(new AccessError('unavailable', 'no answer')),
    };
    await expect(admit('/c1/version', { authorizer })).rejects.toMatchObject({
      reason: 'ServiceUnavailable',
      retryAfterSeconds: 1,
    });
  });

  it('The admission refuses a Service that is not exposed', async () => {
    await expect(admit(servicePath)).rejects.toMatchObject({
      reason: 'Forbidden',
      message: 'service n/s is not in the exposed services allowlist',
    });
  });

  it("A hub user's token reaches a Service only if its entry allows it", async () => {
    const options = { authenticator: hubUser, services: exposed() };
    const headers: HeaderList = [...bearer, ['Accept', 'a']];
    expect(await forwardedNames(servicePath, options, headers)).toEqual(['Accept']);
    const allowing = { authenticator: hubUser, services: exposed(true) };
    expect(await forwardedNames(servicePath, allowing, headers)).toEqual([
      'Authorization',
      'Accept',
    ]);
  });

  it('Impersonation of the client does not spare a token for a Service its check', async () => {
    const headers: HeaderList = [...bearer, ['Impersonate-User', 'x']];
    const authenticator = answering({
      kind: 'impersonate',
      subject: ann,
      user: 'ann',
      groups: [],
    });
    await admit(servicePath, { authenticator, services: exposed() }, headers);
    expect(authenticator.asked[0]?.headerNames).toEqual([]);
    await admit('/c1/version', { authenticator }, headers);
    expect(authenticator.asked[1]?.headerNames).toContain('Impersonate-User');
  });

  it("A Service's own token passes, and a request without a token is not checked", async () => {
    const options = { authenticator: refusing, services: exposed() };
    expect(await forwardedNames(servicePath, options)).toEqual(['Authorization']);
    const before = refusing.asked.length;
    expect(await forwardedNames(servicePath, options, [])).toEqual([]);
    expect(refusing.asked).toHaveLength(before);
  });

  it('A token that cannot be checked does not reach a Service', async () => {
    const authenticator = answering(new AccessError('unavailable', 'no answer'));
    await expect(admit(servicePath, { authenticator, services: exposed() })).rejects.toMatchObject({
      reason: 'Unauthorized',
    });
  });

  it('A head with more fields than an exchange can carry gets a 431', async () => {
    const headers = Array.from({ length: 1_100 }, () => ['a', 'b'] as const);
    await expect(admit('/c1/version', {}, headers)).rejects.toMatchObject({
      reason: 'RequestHeaderFieldsTooLarge',
      code: 431,
    });
  });

  it('A head that OPEN cannot carry gets a 431', async () => {
    const headers: HeaderList = [['X-Long', 'a'.repeat(50_000)]];
    await expect(admit('/c1/version', {}, headers)).rejects.toMatchObject({
      reason: 'RequestHeaderFieldsTooLarge',
      code: 431,
    });
  });

  it.each(['TRACE', 'CONNECT'])('The method %s gets a 405', async (method) => {
    const { gateway } = testGateway();
    const incoming = { ...request('/c1/version'), method };
    expect(() => gateway.admit(incoming, gateway.begin(incoming), never)).toThrow(
      expect.objectContaining({ code: 405 }),
    );
  });

  it('A request is admitted at once when the answers about its token and rights are kept', async () => {
    const clock = new VirtualClock();
    const options = { clock, digest: (text: string) => `digest of ${text}` };
    const user = { username: 'ann', groups: ['dev'] };
    const tokens = (source: 'managed-token' | 'hub-token') =>
      new KubeTokenAuthenticator({
        ...options,
        source,
        review: () => async () => ({ authenticated: source === 'hub-token', user }),
      });
    const hub = tokens('hub-token');
    const authenticator = new AuthenticationChain({ managed: tokens('managed-token'), hub });
    const review = new AccessReviewAuthorizer({
      ...options,
      review: async () => ({ allowed: true }),
    });
    const subjects = { users: ['ann'] };
    const clusters = { names: ['c1'] };
    const policy = Policy.parse({
      rules: [{ name: 'r', subjects, clusters, allow: [{ all: true }] }],
    });
    const authorizer = allOf([policy, review]);
    const { gateway } = testGateway({ authenticator, authorizer, clock });
    const start = () => {
      const incoming = request('/c1/version');
      return gateway.admit(incoming, gateway.begin(incoming), never);
    };
    const first = start();
    expect(first).toBeInstanceOf(Promise);
    const second = start();
    expect(await second).toEqual(await first);
    expect(start()).toEqual(await first);
  });

  it('Requests of one user beyond the limits get a 429, and another user is served', async () => {
    const users = ['a', 'a', 'b'];
    const authenticator = {
      authenticate: async (): Promise<Authentication> => ({
        kind: 'forward',
        subject: { user: users.shift()!, groups: [], source: 'managed-token' },
      }),
    };
    const limits = { maxConcurrent: 1, maxQueued: 0 };
    const { gateway, audited } = testGateway({ authenticator, limits });
    const start = async () => {
      const incoming = request('/c1/version');
      const record = gateway.begin(incoming);
      await gateway.admit(incoming, record, never);
      return record;
    };
    const first = await start();
    const refused = await start().catch((thrown: unknown) => thrown);
    expect(refused).toBeInstanceOf(GatewayError);
    expect(refused).toMatchObject({ code: 429, retryAfterSeconds: 1 });
    await start();
    users.push('a');
    first.end(true);
    await start();
    expect(audited).toHaveLength(1);
    expect(JSON.stringify(audited)).not.toContain('secret');
  });
});
