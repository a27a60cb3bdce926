import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { type RunningAddon, startAddon } from '../../../src/addon/addon.ts';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { organizationalUnitOf } from '../../../src/addon/api/agent-identity.ts';
import { exportKeyPem, parseCertificates } from '../../../src/base/x509/index.ts';
import { clusterOfSubject } from '../../../src/base/names/agent-subject.ts';
import { ApiServerConnection } from '../../../src/kube/client/api-server-connection.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { kubeconfigFile } from '../../../src/kube/client/kubeconfig-file.ts';
import { findCondition, parseConditions } from '../../../src/addon/api/condition.ts';
import { textIn } from '../../../src/addon/rotation/secret.ts';
import { csrObject, type CsrParts, keys, klusterlet, kubeSigner } from '../csr/csr-objects.ts';
import { MemoryLog } from './memory-log.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { eventually, hubNs, RealHub } from '../../../testkit/world/real-hub.ts';

const programs = await findPrograms(apiServerPrograms);
const addOnResource = 'managedclusteraddon';
const tunnelRole = 'cluster-proxy-addon-agent:portforward';

describeWith(
  { programs },
  'the addon manager on a real hub, with the rights that the chart gives it',
  ({ programs }) => {
    const log = new MemoryLog();
    let hub: RealHub;
    let addon: RunningAddon;
    beforeAll(async () => {
      hub = await RealHub.start(programs);
      await hub.addCluster('cluster1');
      addon = await startAddon(hub.options, { log });
    }, 120_000);
    afterAll(async () => {
      await addon?.close();
      await hub?.[Symbol.asyncDispose]();
    });

    const get = (...args: string[]) => hub.server.get<KubeObject>(...args);
    const configuration = () => get('managedproxyconfiguration', 'cluster-proxy');
    const conditionOf = (object: KubeObject, type: string) =>
      findCondition(parseConditions(fields(object['status'])['conditions']), type);
    const work = (cluster: string) =>
      get('manifestwork', 'addon-cluster-proxy-deploy-0', '-n', cluster);

    it("The addon manager makes the hub from the chart's configuration, and reports it", async () => {
      const applied = await eventually(async () => {
        const found = conditionOf(await configuration(), 'HubApplied');
        return found?.status === 'True'
          ? found
          : Promise.reject(new Error(JSON.stringify({ found, log: log.warnings })));
      });
      expect(applied.reason).toBe('Applied');
      for (const [kind, name] of [
        ['deployment', 'cluster-proxy'],
        ['service', 'proxy-entrypoint'],
        ['secret', 'proxy-server'],
        ['secret', 'proxy-client'],
        ['secret', 'agent-server'],
        ['secret', 'agent-ca'],
        ['secret', 'cluster-proxy-signer'],
        ['role', 'cluster-proxy-addon-agent:portforward'],
      ] as const) {
        await expect(get(kind, name, '-n', hubNs)).resolves.toMatchObject({ metadata: { name } });
      }
      expect(conditionOf(await configuration(), 'ProxyServerSecretSigned')?.status).toBe('True');
      // Types are not served immediately after they are installed.
      const refused = log.warnings.filter((line) => !line.startsWith('informer lost the server'));
      expect(refused).toEqual([]);
    });

    it('The addon manager gives each cluster an agent and the rights of that agent', async () => {
      await eventually(() => work('cluster1'));
      const bindings = await hub.server.get<{ items: KubeObject[] }>(
        'rolebinding',
        '-A',
        '-l',
        'open-cluster-management.io/addon-name=cluster-proxy',
      );
      expect(bindings.items.map(({ metadata }) => metadata.name).toSorted()).toEqual([
        'cluster-proxy-addon-agent',
        'cluster-proxy-addon-agent:portforward:cluster1',
      ]);
      const addOn = await eventually(async () => {
        const object = await hub.addOn('cluster1');
        return conditionOf(object, 'RegistrationApplied') && object;
      });
      expect(items(fields(addOn['status'])['registrations'])).toHaveLength(2);
    });

    it('The addon manager writes nothing more after all objects are up to date', async () => {
      const kinds = `deployment,service,secret,role,rolebinding,manifestwork,managedproxyconfiguration,${addOnResource}`;
      const versions = async () => {
        const { items } = await hub.server.get<{ items: KubeObject[] }>(kinds, '-A');
        return items.map(({ kind, metadata }) =>
          [kind, metadata.name, metadata.resourceVersion].join(' '),
        );
      };
      const before = await eventually(async () => {
        const first = await versions();
        expect(await versions()).toEqual(first);
        return first;
      });
      // The manager ignores labels, but a new label makes it reconcile. The Role shows when it has.
      await hub.server.kubectl(['label', 'service', 'proxy-entrypoint', '-n', hubNs, 'team=a']);
      await hub.server.kubectl(['delete', 'role', tunnelRole, '-n', hubNs]);
      await eventually(() => get('role', tunnelRole, '-n', hubNs), 10_000);
      const others = (lines: readonly string[]) =>
        lines.filter(
          (line) =>
            !line.startsWith('Service proxy-entrypoint ') &&
            !line.startsWith(`Role ${tunnelRole} `),
        );
      expect(others(await versions())).toEqual(others(before));
    });

    it.each([
      ['service', 'proxy-entrypoint'],
      ['deployment', 'cluster-proxy'],
      ['secret', 'proxy-client'],
      ['role', 'cluster-proxy-addon-agent:portforward'],
      ['poddisruptionbudget', 'cluster-proxy'],
      ['serviceaccount', 'cluster-proxy-proxy-server'],
    ])('The addon manager makes the %s %s again after it was deleted', async (kind, name) => {
      const before = await eventually(() => get(kind, name, '-n', hubNs));
      await hub.server.kubectl(['delete', kind, name, '-n', hubNs]);
      const after = await eventually(() => get(kind, name, '-n', hubNs), 10_000);
      expect(after.metadata.uid).not.toBe(before.metadata.uid);
    });

    it('The addon manager restores the work and the rights of a cluster after they were deleted or edited', async () => {
      await hub.server.kubectl(['delete', 'manifestwork', '--all', '-n', 'cluster1']);
      await hub.server.kubectl(['delete', 'role', 'cluster-proxy-addon-agent', '-n', 'cluster1']);
      await eventually(() => work('cluster1'), 10_000);
      await eventually(() => get('role', 'cluster-proxy-addon-agent', '-n', 'cluster1'), 10_000);
      await hub.server.kubectl([
        'patch',
        'manifestwork',
        'addon-cluster-proxy-deploy-0',
        '-n',
        'cluster1',
        '--type=json',
        '-p',
        '[{"op":"remove","path":"/spec/workload/manifests/1"}]',
      ]);
      const manifests = async () =>
        items(fields(fields((await work('cluster1'))['spec'])['workload'])['manifests']);
      const kinds = await eventually(async () => {
        const found = (await manifests()).map(({ kind }) => kind);
        return found.includes('ServiceAccount') ? found : undefined;
      }, 10_000);
      expect(kinds).toContain('Deployment');
    });

    /** Makes a request for the CA that signs, as the klusterlet of `by`. */
    async function request(name: string, parts: CsrParts & { by?: string } = {}) {
      const { by = 'cluster1', ...rest } = parts;
      const ca = textIn(await get('secret', 'cluster-proxy-agent-signer', '-n', hubNs), 'ca.crt')!;
      const object = await csrObject({ unit: organizationalUnitOf(ca), ...rest });
      const { username: user, groups } = klusterlet(by);
      const api = hub.api('klusterlet', await hub.server.kubeconfigFor({ user, groups }));
      await api.create(
        { ...object, metadata: { ...object.metadata, name } },
        { signal: AbortSignal.timeout(10_000) },
      );
      api.close();
    }
    const decided = (name: string) =>
      eventually(async () => {
        const csr = await get('csr', name);
        const conditions = parseConditions(fields(csr['status'])['conditions']);
        return conditions.length > 0 ? { csr, conditions } : undefined;
      });

    it("The addon manager approves and signs a klusterlet's request for its own cluster's agent", async () => {
      await hub.server.apply([
        {
          apiVersion: 'rbac.authorization.k8s.io/v1',
          kind: 'ClusterRole',
          metadata: { name: 'klusterlets' },
          rules: [
            {
              apiGroups: ['certificates.k8s.io'],
              resources: ['certificatesigningrequests'],
              verbs: ['create', 'get'],
            },
          ],
        },
        {
          apiVersion: 'rbac.authorization.k8s.io/v1',
          kind: 'ClusterRoleBinding',
          metadata: { name: 'klusterlets' },
          roleRef: {
            apiGroup: 'rbac.authorization.k8s.io',
            kind: 'ClusterRole',
            name: 'klusterlets',
          },
          subjects: [
            {
              apiGroup: 'rbac.authorization.k8s.io',
              kind: 'Group',
              name: 'system:open-cluster-management:managed-clusters',
            },
          ],
        },
      ]);
      await request('right');
      const pem = await eventually(async () => {
        const base64 = fields((await get('csr', 'right'))['status'])['certificate'];
        return typeof base64 === 'string' ? Buffer.from(base64, 'base64').toString() : undefined;
      });
      const [certificate] = parseCertificates(pem);
      expect(clusterOfSubject(certificate!.subject)).toBe('cluster1');
      const ca = parseCertificates(textIn(await get('secret', 'agent-ca', '-n', hubNs), 'ca.crt')!);
      expect(await certificate!.isIssuedBy(ca[0]!)).toBe(true);
      await request('right-for-the-hub', { signer: kubeSigner });
      expect((await decided('right-for-the-hub')).conditions).toMatchObject([{ type: 'Approved' }]);
    });

    it('The addon manager gives agents credentials with which they read only their own lease on the hub', async () => {
      const certificate = await eventually(async () => {
        const base64 = fields((await get('csr', 'right-for-the-hub'))['status'])['certificate'];
        return typeof base64 === 'string' ? base64 : undefined;
      });
      const keyPem = await exportKeyPem((await keys).privateKey);
      const path = join(hub.server.directory, 'agent-of-cluster1');
      const user = {
        'client-certificate-data': certificate,
        'client-key-data': Buffer.from(keyPem).toString('base64'),
      };
      const ofAgent = {
        clusters: [
          {
            name: 'hub',
            cluster: { server: hub.server.url, 'certificate-authority': hub.server.caFile },
          },
        ],
        users: [{ name: 'agent', user }],
        contexts: [{ name: 'hub', context: { cluster: 'hub', user: 'agent' } }],
        'current-context': 'hub',
      };
      await writeFile(path, JSON.stringify(ofAgent));
      const connection = new ApiServerConnection({
        config: kubeconfigFile(path),
        userAgent: 'stolen',
      });
      const statusOf = async (at: string): Promise<number> => {
        const request = { method: 'GET', path: at, what: `get ${at}` } as const;
        const answer = await connection.send(request, AbortSignal.timeout(10_000));
        answer.resume();
        return answer.statusCode!;
      };
      try {
        const group = '/apis/cluster.open-cluster-management.io/v1';
        const works = '/apis/work.open-cluster-management.io/v1/namespaces';
        const leases = '/apis/coordination.k8s.io/v1/namespaces';
        const forbidden = [
          '/api/v1/pods',
          ...['default', 'kube-system', hubNs, 'cluster1', 'cluster2'].flatMap((namespace) => [
            `/api/v1/namespaces/${namespace}/pods`,
            `/api/v1/namespaces/${namespace}/secrets`,
          ]),
          ...['/api/v1/nodes', '/api/v1/namespaces', `${group}/managedclusters`],
          ...[`${works}/cluster1/manifestworks`, `${leases}/cluster1/leases`],
          `/api/v1/namespaces/${hubNs}/services/https:proxy-entrypoint:proxy-server/proxy/`,
          `${leases}/cluster2/leases/cluster-proxy`,
        ];
        for (const at of forbidden) expect([at, await statusOf(at)]).toEqual([at, 403]);
        // The agent is a user of the hub, and may read its own lease, which does not exist yet.
        expect(await statusOf(`${leases}/cluster1/leases/cluster-proxy`)).toBe(404);
      } finally {
        connection.close();
      }
    }, 60_000);

    it('The addon manager records on the addon which CA has signed, and keeps the fields of others', async () => {
      const ca = textIn(await get('secret', 'cluster-proxy-agent-signer', '-n', hubNs), 'ca.crt')!;
      const unit = organizationalUnitOf(ca);
      const annotation = 'proxy.open-cluster-management.io/agent-signer';
      const noted = await eventually(async () => {
        const addOn = await hub.addOn('cluster1');
        return addOn.metadata.annotations?.[annotation] === unit ? addOn : undefined;
      }, 10_000);
      expect(
        Date.now() - Date.parse(noted.metadata.annotations![`${annotation}-since`]!),
      ).toBeLessThan(60_000);
      // The addon's creator applies it again, and OCM's controllers update the whole object.
      await hub.server.apply({
        apiVersion: 'addon.open-cluster-management.io/v1alpha1',
        kind: 'ManagedClusterAddOn',
        metadata: { name: 'cluster-proxy', namespace: 'cluster1', annotations: { team: 'a' } },
        spec: {},
      });
      const api = hub.api('addon-manager-controller');
      const again = await hub.addOn('cluster1');
      await api.update(
        { ...again, metadata: { ...again.metadata, labels: { team: 'a' } } },
        { signal: AbortSignal.timeout(10_000) },
      );
      api.close();
      const after = await hub.server.get<KubeObject>(
        addOnResource,
        'cluster-proxy',
        '-n',
        'cluster1',
        '--show-managed-fields',
      );
      expect(after.metadata.annotations).toMatchObject({ [annotation]: unit, team: 'a' });
      const written = items(fields(after.metadata)['managedFields']).filter(
        ({ manager, subresource }) => manager === 'culvert-addon' && subresource === undefined,
      );
      expect(written.map((entry) => entry['fieldsV1'])).toEqual([
        { 'f:metadata': { 'f:annotations': expect.any(Object) } },
      ]);
      const owned = fields(fields(written[0]?.['fieldsV1'])['f:metadata'])['f:annotations'];
      expect(Object.keys(fields(owned)).filter((key) => key !== '.')).toEqual([
        `f:${annotation}`,
        `f:${annotation}-since`,
      ]);
    });

    it.each([
      ['of another cluster', { by: 'cluster2' }, 'ForeignRequester'],
      [
        'with a group too many',
        { subject: { organizations: ['system:masters'] } },
        'ForeignSubject',
      ],
    ])('The addon manager denies a request %s', async (what, parts, reason) => {
      const name = `wrong-${what.replaceAll(' ', '-')}`;
      await request(name, parts);
      const { csr, conditions } = await decided(name);
      expect(conditions).toMatchObject([{ type: 'Denied', reason }]);
      expect(fields(csr['status'])).not.toHaveProperty('certificate');
    });

    it('The addon manager answers probes and serves metrics', async () => {
      expect((await fetch(`http://${addon.healthAddress}/healthz`)).status).toBe(200);
      expect((await fetch(`http://${addon.healthAddress}/readyz`)).status).toBe(200);
      const metrics = await (await fetch(`http://${addon.metricsAddress}/metrics`)).text();
      expect(metrics).toContain('culvert_addon_leading 1\n');
      expect(metrics).toMatch(/culvert_addon_signing_requests_total\{result="signed"\} 1\n/);
    });

    it('The addon manager continues after an outage of the API server', async () => {
      await hub.server.goAway();
      // Longer than a leader may go without renewing its Lease.
      await vi.waitUntil(() => !addon.isLeading, { timeout: 30_000 });
      await hub.server.comeBack();
      await hub.server.kubectl(['delete', 'service', 'proxy-entrypoint', '-n', hubNs]);
      await eventually(() => get('service', 'proxy-entrypoint', '-n', hubNs));
      await hub.addCluster('cluster2');
      await eventually(() => work('cluster2'));
      expect(addon).toMatchObject({ isLeading: true, unready: undefined });
    }, 120_000);

    it('The addon manager removes the rights of a cluster that is no longer accepted or is deleted', async () => {
      const bindings = async (cluster: string) => {
        const list = await hub.server.get<{ items: KubeObject[] }>(
          'rolebinding',
          '-A',
          '-l',
          `open-cluster-management.io/addon-name=cluster-proxy,open-cluster-management.io/cluster-name=${cluster}`,
        );
        return list.items.length;
      };
      await eventually(async () => ((await bindings('cluster1')) === 2 ? true : undefined));
      await hub.server.kubectl([
        'patch',
        'managedcluster',
        'cluster1',
        '--type=merge',
        '-p',
        '{"spec":{"hubAcceptsClient":false}}',
      ]);
      await eventually(async () => ((await bindings('cluster1')) === 0 ? true : undefined), 10_000);
      expect(await bindings('cluster2')).toBe(2);
      await hub.server.kubectl(['delete', addOnResource, 'cluster-proxy', '-n', 'cluster2']);
      await eventually(async () => ((await bindings('cluster2')) === 0 ? true : undefined), 20_000);
    });
  },
);
