import { describe, expect, it } from 'vitest';
import { type HubStatusObserved, nextStatus } from '../../../src/addon/hub/hub-status.ts';
import { noRotations, type RotationSeen } from '../../../src/addon/rotation/rotation-status.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { parseManagedProxyConfiguration } from '../../../src/addon/configuration/managed-proxy-configuration.ts';
import { configurationObject, configurationOf, entrypointOf, hub, plan } from './hub-fixture.ts';

const nowMs = Date.UTC(2026, 10, 22, 18, 23, 0, 789);
const expiry = Date.UTC(2027, 4, 21, 8, 3, 9);
const expiries = {
  proxyServer: expiry,
  agentServer: expiry,
  proxyClient: expiry,
  userServer: undefined,
};

const deployment = (status: object, generation = 4): KubeObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'cluster-proxy', namespace: hub, generation },
  status,
});
const counts = { observedGeneration: 4, replicas: 3, updatedReplicas: 3, availableReplicas: 3 };

const observed = (more: Partial<HubStatusObserved> = {}): HubStatusObserved => ({
  generation: 2,
  plan: plan(),
  deployment: deployment(counts),
  expiries,
  rotations: noRotations,
  failure: undefined,
  nowMs,
  ...more,
});
const conditionsOf = (more: Partial<HubStatusObserved> = {}, current: unknown = {}) =>
  Object.fromEntries(
    (nextStatus(current, observed(more))?.conditions ?? []).map((condition) => [
      condition.type,
      condition,
    ]),
  );

describe('nextStatus', () => {
  it("nextStatus uses Cluster Proxy's words for its conditions, and adds culvert's conditions", () => {
    const lastTransitionTime = '2026-11-22T18:23:00Z';
    const signed = {
      status: 'True',
      reason: 'SuccessfullySigned',
      message: 'Expiry:2027-05-21 08:03:09 +0000 UTC',
      lastTransitionTime,
    };
    expect(nextStatus(undefined, observed())).toEqual({
      lastObservedGeneration: 2,
      conditions: [
        {
          type: 'ProxyServerDeployed',
          status: 'True',
          reason: 'SuccessfullyDeployed',
          message: 'Replicas: 3',
          lastTransitionTime,
        },
        { type: 'ProxyServerSecretSigned', ...signed },
        { type: 'AgentServerSecretSigned', ...signed },
        { type: 'ProxyClientSecretSigned', ...signed },
        {
          type: 'Valid',
          status: 'True',
          reason: 'Valid',
          message: 'Every field is understood',
          lastTransitionTime,
        },
        {
          type: 'IgnoredFields',
          status: 'False',
          reason: 'NoneIgnored',
          message: 'Every field has an effect',
          lastTransitionTime,
        },
        {
          type: 'EntrypointReady',
          status: 'True',
          reason: 'PortForward',
          message: `Agents connect through the kube-apiserver to ${hub}/https:proxy-entrypoint:agent-server`,
          lastTransitionTime,
        },
        {
          type: 'HubApplied',
          status: 'True',
          reason: 'Applied',
          message: 'Every object is as it should be',
          lastTransitionTime,
        },
      ],
    });
  });

  it('nextStatus writes nothing if only the time has changed', () => {
    const status = nextStatus(undefined, observed());
    expect(nextStatus(status, observed({ nowMs: nowMs + 3_600_000 }))).toBeUndefined();
  });

  it('nextStatus writes a new generation, and keeps the times of the conditions', () => {
    const before = nextStatus(undefined, observed());
    const after = nextStatus(before, observed({ generation: 3, nowMs: nowMs + 60_000 }));
    expect(after).toEqual({ ...before, lastObservedGeneration: 3 });
  });

  it('nextStatus changes the time of a condition only with its status', () => {
    const before = nextStatus(undefined, observed());
    const later = nowMs + 60_000;
    const newer = expiry + 86_400_000;
    const renewed = conditionsOf(
      { expiries: { ...expiries, proxyServer: newer }, nowMs: later },
      before,
    );
    expect(renewed['ProxyServerSecretSigned']).toMatchObject({
      message: 'Expiry:2027-05-22 08:03:09 +0000 UTC',
      lastTransitionTime: '2026-11-22T18:23:00Z',
    });
    const lost = conditionsOf(
      { expiries: { ...expiries, proxyServer: undefined }, nowMs: later },
      before,
    );
    expect(lost['ProxyServerSecretSigned']).toEqual({
      type: 'ProxyServerSecretSigned',
      status: 'False',
      reason: 'NotYetSigned',
      message: '',
      lastTransitionTime: '2026-11-22T18:24:00Z',
    });
    expect(lost['AgentServerSecretSigned']?.lastTransitionTime).toBe('2026-11-22T18:23:00Z');
  });

  it('nextStatus keeps the conditions of others, and replaces a status that cannot be read', () => {
    const other = {
      type: 'Other',
      status: 'True',
      reason: 'R',
      message: '',
      lastTransitionTime: '2026-01-01T00:00:00Z',
    };
    expect(conditionsOf({}, { conditions: [other] })['Other']).toEqual(other);
    for (const current of [null, 'x', { conditions: 'x' }, { conditions: [null, 7, {}] }]) {
      expect(Object.keys(conditionsOf({}, current))).toHaveLength(8);
    }
  });

  it.each<[string, KubeObject | undefined, string, string]>([
    ['there is no Deployment', undefined, 'False', 'Replicas: 0'],
    ['there is no pod', deployment({}), 'False', 'Replicas: 0'],
    ['pods are not ready', deployment({ ...counts, availableReplicas: 2 }), 'False', 'Replicas: 3'],
    ['pods are old', deployment({ ...counts, updatedReplicas: 2 }), 'False', 'Replicas: 3'],
    ['there is one pod too many', deployment({ ...counts, replicas: 4 }), 'False', 'Replicas: 4'],
    ['no controller has observed it yet', deployment(counts, 5), 'False', 'Replicas: 3'],
    ['all serve', deployment(counts), 'True', 'Replicas: 3'],
  ])('nextStatus reports the Deployment correctly when %s', (_what, live, status, message) => {
    expect(conditionsOf({ deployment: live })['ProxyServerDeployed']).toMatchObject({
      status,
      reason: status === 'True' ? 'SuccessfullyDeployed' : 'NotYetDeployed',
      message,
    });
  });

  it('nextStatus reports the certificate of the user-server only when it is wanted', () => {
    const type = 'UserServerSecretSigned';
    const signed = { type, status: 'True', reason: 'SuccessfullySigned', message: 'Expiry:x' };
    expect(conditionsOf({}, { conditions: [signed] })).not.toHaveProperty(type);
    const object = configurationObject();
    const spec = { ...(object['spec'] as object), userServer: {} };
    const issued = plan(parseManagedProxyConfiguration({ ...object, spec }));
    const withExpiry = { plan: issued, expiries: { ...expiries, userServer: expiry } };
    expect(conditionsOf(withExpiry)[type]).toMatchObject({ status: 'True' });
    const provided = plan(configurationOf(), { settings: { enableServiceProxy: true } });
    expect(conditionsOf({ plan: provided })[type]).toMatchObject({
      status: 'False',
      reason: 'NotYetSigned',
      message:
        'There is no Secret cluster-proxy-user-serving-cert, so nothing serves the user-server: set spec.userServer, or create the Secret',
    });
  });

  it('nextStatus names the object, the field and the next step for each problem', () => {
    const configuration = configurationOf({ replicas: 'x', namespace: 'A' });
    expect(conditionsOf({ plan: plan(configuration) })['Valid']).toMatchObject({
      status: 'False',
      reason: 'Invalid',
      message:
        'spec.proxyServer.namespace is "A", a DNS label is needed: lower case letters, digits and inner hyphens, at most 63; ' +
        'spec.proxyServer.replicas is "x", a whole number from 0 to 1000 is needed',
    });
  });

  it('nextStatus names the settings that have no effect', () => {
    const configuration = configurationOf({ additionalArgs: ['--server-count=3'] });
    expect(
      conditionsOf({ plan: plan(configuration, { settings: { redis: undefined } }) })[
        'IgnoredFields'
      ],
    ).toMatchObject({
      status: 'True',
      reason: 'FieldsIgnored',
      message:
        'spec.proxyServer.additionalArgs[0] --server-count: the number of servers is spec.proxyServer.replicas; ' +
        'spec.proxyServer.replicas is 3: one runs, because several find each other in Redis; give spec.proxyServer.redis',
    });
  });

  it('nextStatus reports what the entrypoint waits for', () => {
    const waiting = plan(entrypointOf({ type: 'LoadBalancerService' }));
    expect(conditionsOf({ plan: waiting })['EntrypointReady']).toMatchObject({
      status: 'False',
      reason: 'Pending',
      message: `Service ${hub}/proxy-agent-entrypoint does not exist yet`,
    });
    const direct = plan(
      entrypointOf({ type: 'Hostname', hostname: { value: 'hub.example' }, port: 443 }),
    );
    expect(conditionsOf({ plan: direct })['EntrypointReady']).toMatchObject({
      reason: 'Hostname',
      message: 'Agents connect to wss://hub.example:443',
    });
  });

  it('nextStatus reports which objects the API server refused', () => {
    const failure = `Deployment ${hub}/cluster-proxy: spec.selector is immutable; delete it`;
    expect(conditionsOf({ failure })['HubApplied']).toMatchObject({
      status: 'False',
      reason: 'ApplyFailed',
      message: failure,
    });
  });

  const until = new Date('2026-11-22T19:00:00Z');
  const atLatest = new Date('2026-11-23T19:00:00Z');
  it.each<[string, RotationSeen, object]>([
    [
      'there is one CA',
      { secret: 'hub/s', stage: 'steady', wait: undefined },
      {
        status: 'False',
        reason: 'Steady',
        message: 'The CA in Secret hub/s signs, and no other is trusted',
      },
    ],
    [
      'the next CA is distributed',
      { secret: 'hub/s', stage: 'distributing', wait: { until, atLatest, laggards: [] } },
      {
        status: 'True',
        reason: 'Distributing',
        message:
          'The next CA in Secret hub/s is trusted and signs nothing yet; the next stage begins at 2026-11-22T19:00:00Z',
      },
    ],
    [
      'the previous CA is kept for clusters',
      {
        secret: 'hub/s',
        stage: 'retiring',
        wait: { until, atLatest, laggards: ['a', 'b', 'c', 'd', 'e'] },
      },
      {
        status: 'True',
        reason: 'Retiring',
        message:
          'The new CA in Secret hub/s signs, and the previous CA is still trusted; the next stage begins at 2026-11-22T19:00:00Z, or at the latest at 2026-11-23T19:00:00Z while it waits for 5 clusters without a certificate of the new CA: a, b, c and 2 more',
      },
    ],
    [
      'the rotation is paused',
      { secret: 'hub/s', stage: 'retiring', wait: undefined },
      {
        status: 'True',
        reason: 'Retiring',
        message:
          'The new CA in Secret hub/s signs, and the previous CA is still trusted; the rotation is paused until Valid and HubApplied are True',
      },
    ],
  ])('nextStatus reports the rotation when %s', (_, agents, condition) => {
    const conditions = conditionsOf({ rotations: { konnectivity: undefined, agents } });
    expect(conditions['AgentSignerRotating']).toMatchObject(condition);
    expect(conditions).not.toHaveProperty('SignerRotating');
  });

  it('nextStatus names a single cluster for which a bundle waits', () => {
    const wait = { until, atLatest, laggards: ['c1'] };
    const konnectivity = { secret: 'hub/s', stage: 'distributing', wait } as const;
    expect(
      conditionsOf({ rotations: { konnectivity, agents: undefined } })['SignerRotating']?.message,
    ).toMatch(/waits for 1 cluster without the newest CA bundle: c1$/);
  });
});
