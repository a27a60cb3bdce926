import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningAddon, startAddon } from '../../src/addon/addon.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { Kubectl } from '../../testkit/ground/kubernetes/kubectl.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { type OidcProvider, startOidcProvider } from '../../testkit/world/oidc-provider.ts';
import { eventually, hubNs, RealHub } from '../../testkit/world/real-hub.ts';
import { clusterRoleBinding, Plane } from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';

const programs = await planePrograms();
const cluster = 'cluster1';
const group = 'addon.open-cluster-management.io';
const caConfigMap = 'issuer-ca';
const user = 'oidc:admin@example.com';
const claims = { aud: 'kubectl', sub: '1', email: 'admin@example.com', email_verified: true };
const configOf = (given: Readonly<Record<string, string>>) => ({
  apiVersion: `${group}/v1alpha1`,
  kind: 'AddOnDeploymentConfig',
  metadata: { name: 'oidc', namespace: cluster },
  spec: {
    agentInstallNamespace: 'agents',
    customizedVariables: Object.entries(given).map(([name, value]) => ({ name, value })),
  },
});

describe('The OIDC variables of a cluster', () => {
  let hub: RealHub;
  let addon: RunningAddon;
  let certificates: TestCertificates;
  let provider: OidcProvider;
  let plane: Plane;
  let admin: Kubectl;
  let variables: Readonly<Record<string, string>>;

  beforeAll(async () => {
    certificates = await makeTestCertificates();
    provider = await startOidcProvider(certificates.server);
    variables = {
      oidcIssuerURL: provider.issuerUrl,
      oidcClientID: 'kubectl',
      oidcUsernameClaim: 'email',
      oidcUsernamePrefix: 'oidc:',
      oidcCAConfigMap: caConfigMap,
    };
    hub = await RealHub.start(programs.kubernetes, {
      enableServiceProxy: true,
      userServer: { enabled: true },
    });
    await hub.addCluster(cluster);
    await configure({});
    const { parameters, kubeconfigFile } = await startedAddon();
    plane = await Plane.start(programs, {
      clusters: [cluster],
      hub: { ...hub.server, kubeconfigFile },
      gatewayArgs: parameters,
    });
    admin = await plane.kubectl(cluster, await provider.token(claims));
  });
  afterAll(async () => {
    await plane?.[Symbol.asyncDispose]();
    await addon?.close();
    await hub?.[Symbol.asyncDispose]();
    await provider?.[Symbol.asyncDispose]();
    await certificates?.[Symbol.asyncDispose]();
  });

  /** Writes the variables as an administrator does. OCM then names the object in the status. */
  async function configure(given: Readonly<Record<string, string>>): Promise<void> {
    await hub.server.apply(configOf(given));
    const referent = { namespace: cluster, name: 'oidc' };
    await hub.patchAddOnStatus(cluster, {
      configReferences: [
        {
          ...{ group, resource: 'addondeploymentconfigs', ...referent },
          lastObservedGeneration: 1,
          desiredConfig: { ...referent, specHash: 'x' },
        },
      ],
    });
  }

  /** The manager, the arguments that it gives brokers, and the account of the brokers. */
  async function startedAddon() {
    addon = await startAddon(hub.options, { log: silentLogger });
    const args = await eventually(async () => {
      const { spec } = await hub.server.get<Deployment>('deployment', 'cluster-proxy', '-n', hubNs);
      return spec.template.spec.containers[0].args;
    });
    const kubeconfigFile = await hub.server.kubeconfigFor({
      user: `system:serviceaccount:${hubNs}:cluster-proxy-proxy-server`,
      groups: ['system:serviceaccounts', `system:serviceaccounts:${hubNs}`],
    });
    const parameters = args.filter((arg) => arg.startsWith('--cluster-settings-configmap='));
    expect(parameters).toHaveLength(1);
    return { parameters, kubeconfigFile };
  }

  const whoami = async () =>
    (JSON.parse(await admin.run(['auth', 'whoami', '-o', 'json'])) as SelfSubjectReview).status
      .userInfo;
  const refused = 'You must be logged in';
  /** Waits until the gateway refuses the token. */
  const untilRefused = () =>
    eventually(async () => {
      await expect(whoami()).rejects.toThrow(refused);
      return true;
    });

  it('A token of an issuer is refused before the cluster has OIDC variables', async () => {
    // Until the gateway has read the settings of clusters, it refuses every token.
    await eventually(async () => {
      const problem: unknown = await whoami().catch((thrown: unknown) => thrown);
      expect(String(problem)).toContain(refused);
      expect(String(problem)).toContain('neither valid for managed cluster nor hub cluster');
      return true;
    });
  });

  it('The variables reach the gateway, whose issuer is off until the ConfigMap with its CA exists', async () => {
    await configure(variables);
    const settings = () =>
      hub.server.get<{ data: Readonly<Record<string, string>> }>(
        ...['configmap', 'cluster-proxy-cluster-settings', '-n', hubNs],
      );
    await eventually(async () => {
      expect((await settings()).data['settings.json']).toContain(`${caConfigMap} does not exist`);
      return true;
    });
    await untilRefused();
    await hub.server.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: caConfigMap, namespace: hubNs },
      data: { 'ca.crt': await readFile(certificates.server.ca, 'utf8') },
    });
    const review = await eventually(whoami);
    expect(review.username).toBe(user);
    expect(review.groups).toContain('system:authenticated');
  });

  it('The user of an issuer has the rights that the managed cluster gives it, and no others', async () => {
    const list = () => admin.run(['get', 'nodes', '-o', 'name']);
    await expect(list()).rejects.toThrow(`(Forbidden): nodes is forbidden: User "${user}"`);
    const { server } = plane.api(cluster);
    await server.apply(
      clusterRoleBinding('oidc-admin', 'cluster-admin', { kind: 'User', name: user }),
    );
    await eventually(list);
  });

  it('A token that no issuer signed, and one for another audience or issuer, is refused', async () => {
    const stranger = await startOidcProvider(certificates.server);
    const forged = await stranger.token({ ...claims, iss: provider.issuerUrl });
    await stranger[Symbol.asyncDispose]();
    const others = [{ aud: 'another' }, { iss: 'https://another.example.com' }];
    const ofOthers = others.map((other) => provider.token({ ...claims, ...other }));
    for (const token of [forged, 'a.b.c', ...(await Promise.all(ofOthers))]) {
      const kubectl = await plane.kubectl(cluster, token);
      await expect(kubectl.run(['get', 'nodes'])).rejects.toThrow(refused);
    }
  });

  it('A variable that contradicts another one switches the issuer off, and the removal of all variables as well', async () => {
    await configure({ oidcIssuerURL: provider.issuerUrl });
    expect(await untilRefused()).toBe(true);
    await configure(variables);
    expect((await eventually(whoami)).username).toBe(user);
    await configure({});
    expect(await untilRefused()).toBe(true);
  });
});

interface SelfSubjectReview {
  readonly status: {
    readonly userInfo: { readonly username: string; readonly groups: readonly string[] };
  };
}

interface Deployment {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly [{ readonly args: readonly string[] }] };
    };
  };
}
