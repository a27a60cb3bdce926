import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import {
  type ClusterSettings,
  formatClusterSettings,
} from '../../../src/access/cluster-settings.ts';
import { ClusterAuthentication } from '../../../src/access/node/cluster-authentication.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { LastGoodCa } from '../../../src/base/tls/last-good-ca.ts';
import { kubeconfigFile } from '../../../src/kube/client/kubeconfig-file.ts';
import { RestKubeApi } from '../../../src/kube/client/rest-kube-api.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { startApiServer } from '../../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import { startOidcProvider } from '../../../testkit/world/oidc-provider.ts';

const namespace = 'hub';
const name = 'cluster-proxy-cluster-settings';
const metadata = { namespace, name };
const rbac = 'rbac.authorization.k8s.io';
/** The right that the chart gives brokers. */
const rights = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
  {
    apiVersion: `${rbac}/v1`,
    kind: 'Role',
    metadata,
    rules: [
      {
        apiGroups: [''],
        resources: ['configmaps'],
        resourceNames: [name],
        verbs: ['get', 'list', 'watch'],
      },
    ],
  },
  {
    apiVersion: `${rbac}/v1`,
    kind: 'RoleBinding',
    metadata,
    roleRef: { apiGroup: rbac, kind: 'Role', name },
    subjects: [{ kind: 'User', name: 'broker', apiGroup: rbac }],
  },
];
const programs = await findPrograms(apiServerPrograms);

describeWith({ programs }, 'a gateway with the settings of clusters', ({ programs }) => {
  it('The gateway accepts tokens of an issuer whose CA comes later, with a right to one ConfigMap', async () => {
    await using certificates = await makeTestCertificates();
    const { ca } = certificates.server;
    await using provider = await startOidcProvider(certificates.server);
    const { issuerUrl } = provider;
    const token = await provider.token({ aud: 'kubectl', sub: 'alice' });

    await using server = await startApiServer(programs);
    await server.apply(rights);
    const write = (settings: ClusterSettings) =>
      server.apply([
        {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata,
          data: { 'settings.json': formatClusterSettings(new Map([['c1', settings]])) },
        },
      ]);
    const log = silentLogger;
    const config = kubeconfigFile(await server.kubeconfigFor({ user: 'broker' }), {
      ca: new LastGoodCa('CA of the API server', log),
    });
    const api = new RestKubeApi({ config, fieldManager: 'test', proxies: undefined });
    await using settings = new ClusterAuthentication({
      ...{ api, configMap: metadata, clock: systemClock, log },
    });
    const { signal } = new AbortController();
    const ask = async () => {
      try {
        const { oidc } = settings.providersOf('c1');
        return oidc === undefined ? 'off' : (await oidc.authenticate(token, 'c1', signal))?.user;
      } catch (thrown) {
        return String(thrown);
      }
    };
    const eventually = async (text: string) => {
      await expect.poll(ask, { timeout: 20_000 }).toContain(text);
    };
    await eventually('does not exist');
    const options = { issuerUrl, clientId: 'kubectl', usernamePrefix: 'oidc:' };
    await write({ hubTokens: true, oidc: { options, caProblem: 'no CA yet' } });
    await eventually('no CA yet');
    await write({ hubTokens: true, oidc: { options, ca: await readFile(ca, 'utf8') } });
    await eventually('oidc:alice');
    await write({ hubTokens: true });
    await eventually('off');
    api.close();
  }, 120_000);
});
