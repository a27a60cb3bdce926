import { importPKCS8, SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { readAgentOptions } from '../../src/agent/options.ts';
import { agentSubject, clusterOfSubject } from '../../src/base/names/agent-subject.ts';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import {
  generateTokenKeyPair,
  issueToken,
  TokenVerifier,
} from '../../src/base/tokens/enrolment-token.ts';
import { isClusterAlias, isClusterName } from '../../src/base/names/cluster-name.ts';
import { ConfigError } from '../../src/base/options/option-problems.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { AcceptRate } from '../../src/broker/accept-rate.ts';
import { createApp, type RequestRuntime } from '../../src/broker/app.ts';
import {
  type Authenticator,
  openAuthenticator,
  refuseAll,
} from '../../src/broker/authenticator.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { TokenReviewAuthenticator } from '../../src/broker/token-review-authenticator.ts';
import { readBridgeOptions } from '../../src/konnectivity-bridge/read-options.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';

/** The attacker may name its cluster, and wants what is meant for the cluster `victim`. */
const alias = await clusterAlias('victim');
const longest = 'a'.repeat(63);

describe('The name of a cluster', () => {
  it.each([
    'victim',
    '1st',
    longest,
    'cluster-1',
    alias.slice(0, -1),
    `${alias}0`,
    'cluster-proxy',
  ])('The name of a cluster may be %s', (name) =>
    expect([isClusterName(name), isClusterAlias(name)]).toEqual([true, false]),
  );

  it.each([
    alias,
    alias.toUpperCase(),
    `${alias}.`,
    'Victim',
    'victim.',
    'victim.namespace',
    'victim\n',
    ' victim',
    '-victim',
    '',
    `${longest}a`,
    // Letters that look alike, or become a DNS label when they are made lower case or normalized.
    'vıctim',
    'ｖictim',
    'KVICTIM',
  ])('The name of a cluster must not be %j', (name) => expect(isClusterName(name)).toBe(false));
});

describe('A cluster that is named like the alias of another', () => {
  it('A cluster that is named like an alias gets no enrolment token, and a forged token is refused', async () => {
    const keys = await generateTokenKeyPair();
    const subject = { kind: 'agent', cluster: alias } as const;
    await expect(issueToken(keys.privateKeyPem, subject, 60_000)).rejects.toMatchObject({
      code: 'bad_claims',
    });
    const key = await importPKCS8(keys.privateKeyPem.reveal(), 'EdDSA');
    const forged = await new SignJWT({ sub: 'agent', cluster: alias })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setIssuer('culvert')
      .setAudience('culvert-broker')
      .setExpirationTime('1m')
      .sign(key);
    const verifier = await TokenVerifier.fromPem([keys.publicKeyPem]);
    await expect(verifier.verify(forged)).rejects.toMatchObject({ code: 'bad_claims' });
  });

  it('A cluster that is named like an alias cannot be named by a certificate or a ServiceAccount', async () => {
    expect(clusterOfSubject(agentSubject('victim', 'a'))).toBe('victim');
    expect(clusterOfSubject(agentSubject(alias, 'a'))).toBeUndefined();
    const user = `system:serviceaccount:${alias}:cluster-proxy-agent`;
    const reviewer = { userOf: async () => user };
    const next = refuseAll('for the next');
    const authenticator = new TokenReviewAuthenticator(reviewer, next, new VirtualClock());
    const claims = Buffer.from(JSON.stringify({ sub: user })).toString('base64url');
    const headers = new Headers({ 'Culvert-Authorization': `Bearer e30.${claims}.sig` });
    const asked = authenticator.authenticate(headers, { certificates: [] });
    await expect(asked).rejects.toThrow('nor of a ServiceAccount');
  });

  it.each<[string, Authenticator]>([
    ['has not asked for credentials', openAuthenticator],
    [
      'has believed its credential',
      { authenticate: async () => ({ kind: 'agent', cluster: alias }) },
    ],
  ])(
    'A cluster that is named like an alias is refused where the broker %s',
    async (_, authenticator) => {
      const clock = new VirtualClock();
      const relay = new Relay({
        replica: 'r',
        address: '',
        directory: new MemoryDirectory(),
        clock,
        log: silentLogger,
      });
      const metrics = async () => ({ contentType: 'text/plain', text: '' });
      const acceptRate = new AcceptRate(100, clock);
      const app = createApp({
        relay,
        authenticator,
        acceptRate,
        clock,
        metrics,
        log: silentLogger,
      });
      let upgrades = 0;
      const runtime: RequestRuntime = {
        acceptLink() {
          upgrades++;
          return new Response(null, { status: 204 });
        },
      };
      const headers = { 'Culvert-Cluster': alias, 'Culvert-Agent': 'a' };
      const answer = await app.request('/v1/agent', { headers }, runtime);
      expect([answer.status, upgrades]).toEqual([400, 0]);
      relay.close();
    },
  );

  it.each<[string, (argv: readonly string[]) => unknown]>([
    ['agent', (argv) => readAgentOptions(['--broker-url', 'ws://127.0.0.1:1', ...argv], {})],
    [
      'bridge',
      (argv) =>
        readBridgeOptions(
          [
            ...['--broker-url', 'ws://127.0.0.1:1', '--konnectivity-listen', '127.0.0.1:0'],
            ...argv,
          ],
          {},
        ),
    ],
  ])('A cluster that is named like an alias cannot be an option of culvert %s', (_, read) => {
    expect(() => read(['--cluster', 'victim'])).not.toThrow();
    expect(() => read(['--cluster', alias])).toThrow(ConfigError);
    expect(() => read(['--cluster', alias])).toThrow('another cluster may be addressed');
  });
});
