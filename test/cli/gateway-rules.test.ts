import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { anonymousSubject } from '../../src/access/subject.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Metrics } from '../../src/base/metrics/metrics.ts';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import { readGatewayOptions } from '../../src/cli/gateway-options.ts';
import { startGatewayProgram } from '../../src/cli/gateway-program.ts';
import { openGatewayRules } from '../../src/cli/gateway-rules.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { MemoryKubeApi, ocmKinds } from '../../testkit/kube/memory-kube-api.ts';
import { FakeDialer } from '../konnectivity-bridge/fake-dialer.ts';
import { cli } from './captured-cli.ts';

const log = silentLogger;
const clock = systemClock;
let folder: string;
let policyFile: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'culvert-gateway-rules-'));
  policyFile = join(folder, 'policy.yaml');
  await writeFile(
    policyFile,
    `rules:
  - name: production
    subjects: { anonymous: true }
    clusters: { selector: env=prod }
    allow: [{ all: true }]
`,
  );
});
afterAll(() => rm(folder, { recursive: true }));

function managedCluster(name: string, env: string): KubeObject {
  return {
    apiVersion: 'cluster.open-cluster-management.io/v1',
    kind: 'ManagedCluster',
    metadata: { name, labels: { env } },
    spec: { hubAcceptsClient: true },
  };
}

/** The API server of a hub with two clusters. */
function hubApi(): MemoryKubeApi {
  const api = new MemoryKubeApi({ kinds: ocmKinds });
  for (const [name, env] of [
    ['prod-1', 'prod'],
    ['test-1', 'test'],
  ] as const)
    api.put(managedCluster(name, env));
  return api;
}

it('A gateway with a hub decides by the labels that a cluster has now', async () => {
  const api = hubApi();
  await using rules = await openGatewayRules(
    { policyFile, hubAuthorization: false },
    { api, clock, log },
  );
  const { signal } = new AbortController();
  const isAllowed = async (cluster: string): Promise<boolean> => {
    const action = { kind: 'session' } as const;
    return (await rules.authorizer!.authorize(anonymousSubject, cluster, action, signal)).allowed;
  };
  await expect.poll(() => isAllowed('prod-1')).toBe(true);
  expect(await isAllowed(await clusterAlias('prod-1'))).toBe(true);
  expect(await isAllowed('test-1')).toBe(false);
  expect(await isAllowed('unknown')).toBe(false);
  api.put(managedCluster('test-1', 'prod'));
  await expect.poll(() => isAllowed('test-1')).toBe(true);
});

it('A gateway without a hub does not start with a policy that selects clusters by labels', async () => {
  const url = '--broker-url=ws://127.0.0.1:1';
  const tokenFile = join(folder, 'token');
  await writeFile(tokenFile, 'token');
  const listen = '--gateway-listen=127.0.0.1:0';
  const { code, stderr } = await cli([
    ...['gateway', url, '--token-file', tokenFile, listen, '--policy-file', policyFile],
  ]);
  expect(code).toBe(2);
  expect(stderr).toContain(
    '--policy-file: rule production: it selects clusters by labels, but without --kubernetes or --kubeconfig the gateway knows no labels',
  );
});

it('A gateway with a hub tells an unknown cluster from one without an agent', async () => {
  await using stack = new AsyncDisposableStack();
  const { options } = readGatewayOptions(
    ['--broker-url=ws://127.0.0.1:1', '--gateway-listen=127.0.0.1:0', '--gateway-min-drain=0s'],
    {},
  );
  const rules = stack.use(await openGatewayRules(options, { api: hubApi(), clock, log }));
  await expect.poll(() => rules.isKnownCluster('prod-1')).toBe(true);
  const gateway = await startGatewayProgram(options.gateway, {
    ...{ hub: undefined, rules: rules.authorizer, metrics: new Metrics(), log, stack },
    // No agent is connected.
    dialer: new FakeDialer(() => undefined),
    isKnownCluster: rules.isKnownCluster,
  });
  const get = async (cluster: string): Promise<unknown> =>
    await (await fetch(`${gateway.url}/${cluster}/version`)).json();
  expect(await get('unknown')).toMatchObject({
    ...{ kind: 'Status', code: 404, message: 'culvert: there is no cluster "unknown"' },
  });
  expect(await get('prod-1')).toMatchObject({ kind: 'Status', code: 503 });
});
