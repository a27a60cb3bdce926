import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import {
  generateTokenKeyPair,
  issueToken,
  TokenVerifier,
} from '../../src/base/tokens/enrolment-token.ts';
import type { TokenSubject } from '../../src/base/tokens/token-subject.ts';
import { type Logger, silentLogger } from '../../src/base/log/logger.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';
import { createApp, type RequestRuntime } from '../../src/broker/app.ts';
import { openAuthenticator } from '../../src/broker/authenticator.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { TokenAuthenticator } from '../../src/broker/token-authenticator.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';

const hourMs = 3_600_000;
const keys = await generateTokenKeyPair();
const verifier = await TokenVerifier.fromPem([keys.publicKeyPem]);

async function tokenFor(subject: TokenSubject, ttlMs = hourMs): Promise<string> {
  return (await issueToken(keys.privateKeyPem, subject, ttlMs)).reveal();
}

interface Attempt {
  readonly path: string;
  readonly headers?: Record<string, string>;
  /** False: a plain request instead of an upgrade. */
  readonly upgrade?: boolean;
}

function makeApp(options: { open?: boolean; acceptRate?: number } = {}) {
  const lines: string[] = [];
  const log: Logger = {
    ...silentLogger,
    warn: (event: string, fields?: LogFields) =>
      void lines.push(JSON.stringify({ event, ...fields })),
  };
  const relay = new Relay({
    replica: 'r',
    address: '',
    directory: new MemoryDirectory(),
    clock: systemClock,
    log,
  });
  const app = createApp({
    relay,
    authenticator: options.open === true ? openAuthenticator : new TokenAuthenticator(verifier),
    acceptRate: new AcceptRate(options.acceptRate ?? 100, systemClock),
    clock: systemClock,
    metrics: async () => ({ contentType: 'text/plain', text: 'up 1\n' }),
    log,
  });
  const attempt = async ({ path, headers = {}, upgrade = true }: Attempt) => {
    let upgraded = false;
    const runtime: RequestRuntime = {
      acceptLink() {
        upgraded = true;
        return new Response(null, { status: 204 });
      },
    };
    const response = await app.request(path, { headers }, upgrade ? runtime : {});
    return { status: response.status, upgraded, response };
  };
  return { relay, attempt, lines };
}

const agentHeaders = (token: string, cluster = 'c1') => ({
  Authorization: `Bearer ${token}`,
  'Culvert-Cluster': cluster,
  'Culvert-Agent': 'agent-1',
});

describe('The route for agents', () => {
  it('The route for agents admits an agent as the cluster that its token names', async () => {
    const { attempt } = makeApp();
    const token = await tokenFor({ kind: 'agent', cluster: 'c1' });
    expect(await attempt({ path: '/v1/agent', headers: agentHeaders(token) })).toMatchObject({
      upgraded: true,
    });
  });

  it('The route for agents answers 403 to a token of another cluster, before the upgrade', async () => {
    const { attempt, lines } = makeApp();
    const token = await tokenFor({ kind: 'agent', cluster: 'c1' });
    const answer = await attempt({ path: '/v1/agent', headers: agentHeaders(token, 'c2') });
    expect(answer).toMatchObject({ status: 403, upgraded: false });
    expect(await answer.response.json()).toMatchObject({ code: 'forbidden' });
    expect(lines.join()).toContain('c1 only, not for c2');
  });

  it('The route for agents answers 403 to the token of a dialer', async () => {
    const { attempt } = makeApp();
    const token = await tokenFor({ kind: 'dialer', name: 'bridge' });
    const answer = await attempt({ path: '/v1/agent', headers: agentHeaders(token) });
    expect(answer).toMatchObject({ status: 403, upgraded: false });
  });

  it.each([
    ['no token', async () => ({})],
    [
      'an expired token',
      async () => agentHeaders(await tokenFor({ kind: 'agent', cluster: 'c1' }, -hourMs)),
    ],
    ['garbage', async () => agentHeaders('a.b.c')],
    [
      'a token of another key',
      async () => {
        const others = await generateTokenKeyPair();
        const subject = { kind: 'agent', cluster: 'c1' } as const;
        return agentHeaders((await issueToken(others.privateKeyPem, subject, hourMs)).reveal());
      },
    ],
  ])('answers 401 to %s, and logs it without the token', async (_, makeHeaders) => {
    const { attempt, lines } = makeApp();
    const headers: Record<string, string> = await makeHeaders();
    const answer = await attempt({ path: '/v1/agent', headers });
    expect(answer).toMatchObject({ status: 401, upgraded: false });
    expect(lines).toHaveLength(1);
    expect(lines[0]).not.toContain(
      headers['Authorization']?.slice('Bearer '.length) ?? 'no token at all',
    );
  });

  it.each(['', 'C1', '-c1', 'a.b', 'a'.repeat(64)])(
    'answers 400 to the cluster name "%s"',
    async (cluster) => {
      const { attempt } = makeApp({ open: true });
      const headers = { 'Culvert-Cluster': cluster, 'Culvert-Agent': 'a' };
      expect(await attempt({ path: '/v1/agent', headers })).toMatchObject({
        status: 400,
        upgraded: false,
      });
    },
  );

  it('The route for agents answers 426 to a request that is no upgrade', async () => {
    const { attempt } = makeApp();
    expect(await attempt({ path: '/v1/agent', upgrade: false })).toMatchObject({ status: 426 });
  });

  it('The route for agents answers 503 with Retry-After above the accept rate', async () => {
    const { attempt } = makeApp({ open: true, acceptRate: 1 });
    const headers = { 'Culvert-Cluster': 'c1', 'Culvert-Agent': 'a' };
    expect(await attempt({ path: '/v1/agent', headers })).toMatchObject({ upgraded: true });
    const second = await attempt({ path: '/v1/agent', headers });
    expect(second).toMatchObject({ status: 503, upgraded: false });
    expect(Number(second.response.headers.get('Retry-After'))).toBeGreaterThan(0);
  });

  it('The route for agents answers 503 while the broker drains', async () => {
    const { relay, attempt } = makeApp({ open: true });
    relay.close();
    const headers = { 'Culvert-Cluster': 'c1', 'Culvert-Agent': 'a' };
    const answer = await attempt({ path: '/v1/agent', headers });
    expect(answer).toMatchObject({ status: 503, upgraded: false });
    expect(await answer.response.json()).toMatchObject({ code: 'draining' });
  });
});

describe('The route for dialers', () => {
  const path = '/v1/clusters/c1/session';

  it('The route for dialers admits a dialer by its token', async () => {
    const { attempt } = makeApp();
    const token = await tokenFor({ kind: 'dialer', name: 'bridge' });
    const headers = { Authorization: `Bearer ${token}` };
    expect(await attempt({ path, headers })).toMatchObject({ upgraded: true });
  });

  it('The route for dialers admits a token of some clusters to these clusters only', async () => {
    const { attempt, lines } = makeApp();
    const token = await tokenFor({ kind: 'dialer', name: 'ci', clusters: ['c0', 'c1'] });
    const headers = { Authorization: `Bearer ${token}` };
    expect(await attempt({ path, headers })).toMatchObject({ upgraded: true });
    const alias = await clusterAlias('c1');
    const byAlias = `/v1/clusters/${alias}/session`;
    expect(await attempt({ path: byAlias, headers })).toMatchObject({ upgraded: true });
    for (const other of ['c2', await clusterAlias('c2')]) {
      const answer = await attempt({ path: `/v1/clusters/${other}/session`, headers });
      expect(answer).toMatchObject({ status: 403, upgraded: false });
      expect(await answer.response.json()).toMatchObject({ code: 'forbidden_cluster' });
    }
    expect(lines.join()).toContain('the token of ci is not for cluster c2');
  });

  it('The route for dialers answers 403 to the token of an agent, even of that cluster', async () => {
    const { attempt } = makeApp();
    const token = await tokenFor({ kind: 'agent', cluster: 'c1' });
    const headers = { Authorization: `Bearer ${token}` };
    expect(await attempt({ path, headers })).toMatchObject({ status: 403, upgraded: false });
  });

  it('The route for dialers answers 401 without a token', async () => {
    const { attempt } = makeApp();
    expect(await attempt({ path })).toMatchObject({ status: 401, upgraded: false });
  });
});

describe('Other routes of the broker', () => {
  it('The status shows names of clusters to dialers only', async () => {
    const { attempt } = makeApp();
    const ask = (headers: Record<string, string>) =>
      attempt({ path: '/v1/status', headers, upgrade: false });
    expect(await ask({})).toMatchObject({ status: 401 });
    const agent = await tokenFor({ kind: 'agent', cluster: 'c1' });
    expect(await ask({ Authorization: `Bearer ${agent}` })).toMatchObject({ status: 403 });
    const scoped = await tokenFor({ kind: 'dialer', name: 'ci', clusters: ['c1'] });
    expect(await ask({ Authorization: `Bearer ${scoped}` })).toMatchObject({ status: 403 });
    const dialer = await tokenFor({ kind: 'dialer', name: 'cli' });
    const answer = await ask({ Authorization: `Bearer ${dialer}` });
    expect(await answer.response.json()).toMatchObject({ replica: 'r', clusters: [] });
  });

  it('The broker is healthy always and ready until it drains', async () => {
    const { relay, attempt } = makeApp();
    const ask = async (path: string) => (await attempt({ path, upgrade: false })).status;
    expect([await ask('/healthz'), await ask('/readyz')]).toEqual([200, 200]);
    relay.close();
    expect([await ask('/healthz'), await ask('/readyz')]).toEqual([200, 503]);
  });

  it('The answer of /readyz says nothing about the directory', async () => {
    const { relay, attempt } = makeApp();
    Object.defineProperty(relay.options.directory, 'degraded', {
      value: 'redis.example.com is away',
    });
    const { response } = await attempt({ path: '/readyz', upgrade: false });
    expect(await response.text()).toBe('ok');
  });

  it('The app serves metrics, and answers unknown paths with 404 as JSON', async () => {
    const { attempt } = makeApp();
    const metrics = await attempt({ path: '/metrics', upgrade: false });
    expect(await metrics.response.text()).toBe('up 1\n');
    expect(await attempt({ path: '/nowhere', upgrade: false })).toMatchObject({ status: 404 });
  });
});
