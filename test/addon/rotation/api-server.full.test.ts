import { afterAll, beforeAll, expect, it } from 'vitest';
import { LeaseRenewer } from '../../../src/agent/lease-renewer.ts';
import { parseCertificateSigningRequest } from '../../../src/addon/api/certificate-signing-request.ts';
import { signCsr } from '../../../src/addon/csr/sign-csr.ts';
import { minimumWaits } from '../../../src/addon/rotation/authority-rotation.ts';
import { hubNames } from '../../../src/addon/rotation/leaf-plan.ts';
import {
  type CertificatesPlan,
  planCertificates,
} from '../../../src/addon/rotation/plan-certificates.ts';
import { annotations, textIn } from '../../../src/addon/rotation/secret.ts';
import { agentRegistrations } from '../../../src/addon/api/agent-identity.ts';
import { type VerifiedCsr, verifyCsr } from '../../../src/addon/csr/verify-csr.ts';
import { clusterOfSubject } from '../../../src/base/names/agent-subject.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/log/logger.ts';
import { parseCertificates } from '../../../src/base/x509/index.ts';
import type { KubeApi } from '../../../src/kube/client/kube-api.ts';
import { find } from '../../../src/kube/client/kube-ref.ts';
import { kubeconfigFile } from '../../../src/kube/client/kubeconfig-file.ts';
import { RestKubeApi } from '../../../src/kube/client/rest-kube-api.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { csrObject } from '../csr/csr-objects.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';

const programs = await findPrograms(apiServerPrograms);
const options = { signal: new AbortController().signal, force: true };

describeWith({ programs }, 'certificates on a real API server', ({ programs }) => {
  let server: RunningApiServer;
  let api: KubeApi;
  beforeAll(async () => {
    server = await startApiServer(programs);
    const config = kubeconfigFile(server.kubeconfigFile);
    api = new RestKubeApi({ config, fieldManager: 'culvert-addon' });
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'hub' } };
    await server.apply(namespace);
  }, 120_000);
  afterAll(async () => {
    api?.close();
    await server?.[Symbol.asyncDispose]();
  });

  const secret = (name: string) =>
    find(api, { apiVersion: 'v1', kind: 'Secret', namespace: 'hub', name }, options);

  async function plan(now: Date): Promise<CertificatesPlan> {
    const observed = {
      signer: await secret('cluster-proxy-signer'),
      agentSigner: await secret('cluster-proxy-agent-signer'),
      serverCa: await secret('proxy-server-ca'),
      agentCa: await secret('agent-ca'),
      proxyServer: await secret('proxy-server'),
      agentServer: await secret('agent-server'),
      proxyClient: await secret('proxy-client'),
    };
    const names = hubNames([
      '127.0.0.1',
      'localhost',
      'proxy-entrypoint.hub',
      'proxy-entrypoint.hub.svc',
    ]);
    return planCertificates(observed, {
      now,
      names,
      signerNamespace: 'hub',
      hubNamespace: 'hub',
    });
  }

  async function reconcile(now: Date): Promise<CertificatesPlan> {
    const made = await plan(now);
    for (const object of made.secrets) await api.apply(object, options);
    return made;
  }
  const keysOf = async (name: string) =>
    Object.keys(((await secret(name))?.['data'] as object | undefined) ?? {}).toSorted();

  it('Certificates on a real API server are made, and keep their resource version', async () => {
    const now = new Date();
    await reconcile(now);
    const versions = async () =>
      Promise.all(
        ['cluster-proxy-signer', 'agent-ca', 'proxy-client'].map(
          async (name) => (await secret(name))?.metadata.resourceVersion,
        ),
      );
    const before = await versions();
    await reconcile(now);
    expect(await versions()).toEqual(before);
    expect(await keysOf('proxy-client')).toEqual(['ca.crt', 'tls.crt', 'tls.key']);
  });

  it('Certificates on a real API server are rotated when kubectl asks for it, and nothing of the old CA remains', async () => {
    const annotation = `${annotations.rotateCa}=2027`;
    const args = ['-n', 'hub', 'annotate', 'secret', 'cluster-proxy-signer', annotation];
    await server.kubectl(args);
    let now = new Date();
    const stages: unknown[] = [];
    for (const waitMs of [
      0,
      minimumWaits.requested.distributeMs,
      0,
      minimumWaits.requested.retireMs,
    ]) {
      now = new Date(now.getTime() + waitMs);
      const { konnectivity } = await reconcile(now);
      stages.push([konnectivity?.stage, (await keysOf('cluster-proxy-signer')).join(' ')]);
    }
    expect(stages).toEqual([
      ['distributing', 'ca.crt ca.key next.crt next.key'],
      ['retiring', 'ca.crt ca.key previous.crt'],
      ['retiring', 'ca.crt ca.key previous.crt'],
      ['steady', 'ca.crt ca.key'],
    ]);
    const { annotations: left } = (await secret('cluster-proxy-signer'))!.metadata;
    expect(left).toEqual({ [annotations.rotateCa]: '2027', [annotations.rotatedFor]: '2027' });
    const trusted = parseCertificates(textIn(await secret('proxy-server-ca'), 'ca.crt')!);
    expect(trusted).toHaveLength(1);
  });

  it('The Secret of a CA is not overwritten by a plan that was made before the Secret changed', async () => {
    const stale = await plan(new Date());
    await server.kubectl(['-n', 'hub', 'annotate', 'secret', 'cluster-proxy-signer', 'a=b']);
    await expect(api.apply(stale.secrets[0]!, options)).rejects.toMatchObject({ code: 'conflict' });
  });

  it('Certificates on a real API server are signed for the klusterlet of a cluster', async () => {
    const cluster = '1st';
    const user = `system:open-cluster-management:${cluster}:klusterlet`;
    const group = `system:open-cluster-management:${cluster}`;
    await server.apply([
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: 'klusterlet' },
        rules: [
          {
            apiGroups: ['certificates.k8s.io'],
            resources: ['certificatesigningrequests'],
            verbs: ['create'],
          },
        ],
      },
      {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: { name: 'klusterlet' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'klusterlet' },
        subjects: [{ kind: 'Group', name: group, apiGroup: 'rbac.authorization.k8s.io' }],
      },
    ]);
    const config = kubeconfigFile(await server.kubeconfigFor({ user, groups: [group] }));
    const klusterlet = new RestKubeApi({ config, fieldManager: 'klusterlet' });
    const made = await klusterlet.create(
      await csrObject({ cluster, metadata: { name: `addon-${cluster}` } }),
      options,
    );
    klusterlet.close();
    const check = (of: string) =>
      verifyCsr(
        parseCertificateSigningRequest(made),
        { cluster: of, driver: 'csr' },
        agentRegistrations(of, 'signer-1'),
      );
    const checked = await check(cluster);
    expect(checked).toMatchObject({ kind: 'passed' });
    expect(await check('2nd')).toMatchObject({ kind: 'refused', reason: 'ForeignSubject' });

    const now = { lastUpdateTime: new Date().toISOString() };
    const approval = { type: 'Approved', status: 'True', reason: 'x', message: 'x', ...now };
    const approved = { ...made, status: { conditions: [approval] } };
    const before = await api.update(approved, { ...options, subresource: 'approval' });
    const { agents } = await plan(new Date());
    const certificate = Buffer.from(
      await signCsr(checked as VerifiedCsr, agents!.signing, new Date()),
    );
    const status = { ...(before['status'] as object), certificate: certificate.toString('base64') };
    // The API server validates that the status holds one certificate in PEM.
    await api.update({ ...before, status }, { ...options, subresource: 'status' });
    const [leaf] = parseCertificates(certificate.toString());
    expect(clusterOfSubject(leaf!.subject)).toBe(cluster);
  });

  it("An agent's lease is renewed on a real API server", async () => {
    const stop = new AbortController();
    const renewer = new LeaseRenewer({
      lease: { namespace: 'hub', name: 'cluster-proxy' },
      holder: 'pod-1',
      here: api,
      hub: undefined,
      cluster: 'c1',
      isAnswered: async () => true,
      clock: systemClock,
      log: silentLogger,
    });
    const running = renewer.run(stop.signal);
    const ref = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' };
    const lease = () => find(api, { ...ref, namespace: 'hub', name: 'cluster-proxy' }, options);
    await expect
      .poll(lease)
      .toMatchObject({ spec: { leaseDurationSeconds: 60, holderIdentity: 'pod-1' } });
    stop.abort();
    await running;
  });
});
