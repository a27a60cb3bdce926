import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../src/base/clock.ts';
import { Informer } from '../../../src/kube/controllers/informer.ts';
import type { KubeApi } from '../../../src/kube/client/kube-api.ts';
import { isKubeError } from '../../../src/kube/client/kube-error.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';
import { kubeconfigFile } from '../../../src/kube/client/kubeconfig-file.ts';
import { LeaderElection, type Lease } from '../../../src/kube/controllers/leader-election.ts';
import { RestKubeApi } from '../../../src/kube/client/rest-kube-api.ts';
import { describeKubeApi } from '../../contracts/kube-api.contract.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../../testkit/ground/kubernetes/programs.ts';
import { signingRequest } from './signing-request.ts';

const signal = new AbortController().signal;
const programs = await findPrograms(apiServerPrograms);

describeWith({ programs }, 'the REST client', ({ programs }) => {
  let server: RunningApiServer;
  let api: KubeApi;

  const clientOf = (kubeconfig: string, maxAgeMs?: number) =>
    new RestKubeApi({ config: kubeconfigFile(kubeconfig, { maxAgeMs }), fieldManager: 'test' });

  beforeAll(async () => {
    server = await startApiServer(programs);
    api = clientOf(server.kubeconfigFile);
  }, 60_000);
  afterAll(async () => {
    api?.close();
    await server?.[Symbol.asyncDispose]();
  });

  describeKubeApi('kube-apiserver', () => {
    const config = kubeconfigFile(server.kubeconfigFile);
    return Promise.resolve({
      api: new RestKubeApi({ config, fieldManager: 'contract' }),
      other: new RestKubeApi({ config, fieldManager: 'other' }),
      // The versions from which a watch can continue are in its memory.
      forget: async () => {
        await server.goAway();
        await server.comeBack();
      },
    });
  });

  /** Our identity, as the server reports it. */
  const whoAmI = async (as: KubeApi): Promise<string> => {
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    const { status } = await as.create<KubeObject & { status: { userInfo: { username: string } } }>(
      review,
      { signal },
    );
    return status.userInfo.username;
  };

  describe('the identity of the REST client', () => {
    it('The REST client has the identity of its client certificate, and another one when the kubeconfig is rewritten', async () => {
      const path = join(server.directory, 'rewritten.kubeconfig');
      await copyFile(await server.kubeconfigFor({ user: 'ann' }), path);
      using client = closing(clientOf(path, 0));
      expect(await whoAmI(client.api)).toBe('ann');
      await copyFile(await server.kubeconfigFor({ user: 'bob' }), path);
      expect(await whoAmI(client.api)).toBe('bob');
    });

    it('The REST client reads a token file again at once when the token is refused', async () => {
      const tokenFile = join(server.directory, 'token');
      await writeFile(tokenFile, 'stale');
      using client = closing(clientOf(await tokenKubeconfig(tokenFile)));
      await expect(whoAmI(client.api)).rejects.toMatchObject({
        code: 'unauthorized',
        message: expect.stringContaining('check token and certificate'),
      });
      await createServiceAccount('fresh');
      await writeFile(tokenFile, await server.token('default', 'fresh'));
      expect(await whoAmI(client.api)).toBe('system:serviceaccount:default:fresh');
    });

    it('The REST client runs an exec plugin with the same information as kubectl, and again when its token is refused', async () => {
      const tokenFile = join(server.directory, 'plugin-token');
      const plugin = join(server.directory, 'plugin.sh');
      const seen = join(server.directory, 'plugin-info');
      const apiVersion = 'client.authentication.k8s.io/v1';
      const answer = `{"apiVersion":"${apiVersion}","kind":"ExecCredential","status":{"token":"%s"}}`;
      const script = `echo "$KUBERNETES_EXEC_INFO" >> ${seen}; printf '${answer}' "$(cat ${tokenFile})"`;
      await writeFile(plugin, `#!/bin/sh\n${script}\n`, { mode: 0o700 });
      await writeFile(tokenFile, 'stale');
      const exec = {
        apiVersion,
        command: './plugin.sh',
        interactiveMode: 'Never',
        provideClusterInfo: true,
      };
      const path = await kubeconfigOf({ exec });
      using client = closing(clientOf(path));
      await expect(whoAmI(client.api)).rejects.toMatchObject({ code: 'unauthorized' });
      await createServiceAccount('plugged');
      await writeFile(tokenFile, await server.token('default', 'plugged'));
      expect(await whoAmI(client.api)).toBe('system:serviceaccount:default:plugged');
      const kubectl = ['--kubeconfig', path, 'auth', 'whoami', '-o', 'name'];
      await server.kubectl(kubectl).catch(() => {});
      const runs = (await readFile(seen, 'utf8')).trim().split('\n');
      // Ours: the first call, again after its 401, and again after the 401 of the second call.
      expect(runs).toHaveLength(4);
      const [ours, theirs] = [runs[0]!, runs[3]!].map((run) => {
        // We end a CA with a line feed.
        return JSON.parse(run, (field, value: string) =>
          field === 'certificate-authority-data' ? atob(value).trim() : value,
        ) as object;
      });
      expect(ours).toEqual(theirs);
    });

    it('The REST client reports which permission is missing, and how to grant it', async () => {
      using client = closing(clientOf(await server.kubeconfigFor({ user: 'nobody' })));
      const ref = { apiVersion: 'v1', kind: 'Secret', namespace: 'default', name: 'a' };
      await expect(client.api.get(ref, { signal })).rejects.toMatchObject({
        code: 'forbidden',
        message: expect.stringMatching(/get Secret default\/a: .*User "nobody".*grant it/),
      });
    });
  });

  const createServiceAccount = (name: string) => {
    const metadata = { namespace: 'default', name };
    return api.create({ apiVersion: 'v1', kind: 'ServiceAccount', metadata }, { signal });
  };

  const tokenKubeconfig = (tokenFile: string) => kubeconfigOf({ tokenFile });

  let kubeconfigs = 0;
  const kubeconfigOf = async (user: object): Promise<string> => {
    const path = join(server.directory, `written-${++kubeconfigs}.kubeconfig`);
    const cluster = { server: server.url, 'certificate-authority': server.caFile };
    const config = {
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  };

  describe('the REST client and objects that are not stored', () => {
    it('The REST client asks for a token and has it reviewed', async () => {
      await createServiceAccount('reviewed');
      const authentication = { apiVersion: 'authentication.k8s.io/v1' };
      const { status } = await api.createSubresource<KubeObject & { status: { token: string } }>(
        { apiVersion: 'v1', kind: 'ServiceAccount', namespace: 'default', name: 'reviewed' },
        'token',
        { ...authentication, kind: 'TokenRequest', spec: { audiences: ['culvert-broker'] } },
        { signal },
      );
      const spec = { token: status.token, audiences: ['culvert-broker'] };
      const review = { ...authentication, kind: 'TokenReview', spec };
      expect(await api.create(review, { signal })).toMatchObject({
        status: {
          authenticated: true,
          audiences: ['culvert-broker'],
          user: { username: 'system:serviceaccount:default:reviewed' },
        },
      });
    });

    it('The REST client creates a SubjectAccessReview', async () => {
      const resourceAttributes = { verb: 'get', resource: 'secrets', namespace: 'default' };
      const review = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: { user: 'nobody', resourceAttributes },
      };
      expect(await api.create(review, { signal })).toMatchObject({ status: { allowed: false } });
    });
  });

  it('The REST client approves a certificate signing request', async () => {
    const csr = await api.create(
      {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { name: 'approved' },
        spec: {
          signerName: 'culvert.example/signer',
          usages: ['client auth'],
          request: Buffer.from(await signingRequest('CN=agent')).toString('base64'),
        },
      },
      { signal },
    );
    const conditions = [{ type: 'Approved', status: 'True', reason: 'Test', message: 'a test' }];
    const approval = { signal, subresource: 'approval' };
    const approved = await api.update({ ...csr, status: { conditions } }, approval);
    expect(approved).toMatchObject({ status: { conditions: [{ type: 'Approved' }] } });
    const again = api.update({ ...csr, status: { conditions } }, approval);
    await expect(again).rejects.toMatchObject({ code: 'conflict' });
  });

  it('The REST client notices that a definition is gone', async () => {
    const definition = definitionOf('gone.culvert.example');
    const things = { apiVersion: 'gone.culvert.example/v1', kind: 'Thing' };
    await api.create(definition, { signal });
    await expect.poll(() => api.serves(things, { signal }), { timeout: 15_000 }).toBe(true);
    const { metadata } = definition;
    await api.delete({ ...definition, name: metadata.name }, { signal });
    const isGone = async () => {
      const listed = api.list(things, { signal });
      return listed.then(() => false).catch((thrown: unknown) => isKubeError(thrown, 'not_served'));
    };
    await expect.poll(isGone, { timeout: 15_000 }).toBe(true);
    expect(await api.serves(things, { signal })).toBe(false);
  });

  it('The REST client reports invalid for a field that the schema does not have', async () => {
    const object = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { namespace: 'default', name: 'misspelt' },
      dta: {},
    };
    await expect(api.apply(object, { signal, force: true })).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('.dta'),
    });
  });

  it('The REST client reports invalid for an object whose webhook does not answer', async () => {
    const kind = 'ValidatingWebhookConfiguration';
    const hook = { apiVersion: 'admissionregistration.k8s.io/v1', kind, name: 'silent' };
    const configmaps = { apiGroups: [''], apiVersions: ['v1'], resources: ['configmaps'] };
    const webhook = {
      name: 'silent.example.com',
      // Nothing listens there.
      clientConfig: { url: 'https://127.0.0.1:1/' },
      rules: [{ ...configmaps, operations: ['CREATE'] }],
      objectSelector: { matchLabels: { webhook: 'silent' } },
      sideEffects: 'None',
      admissionReviewVersions: ['v1'],
    };
    await api.create({ ...hook, metadata: { name: hook.name }, webhooks: [webhook] }, { signal });
    const metadata = { name: 'hooked', namespace: 'default', labels: { webhook: 'silent' } };
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata };
    // The API server needs a moment to know its webhooks.
    await expect
      .poll(() => api.create(object, { signal, dryRun: true }).catch((error: unknown) => error))
      .toMatchObject({
        code: 'invalid',
        message: expect.stringContaining('failed calling webhook "silent.example.com"'),
      });
    await api.delete(hook, { signal });
  });

  it('The REST client follows a collection over a restart of the server', async () => {
    const collection = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default' };
    const map = (name: string) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { namespace: 'default', name },
    });
    const informer = new Informer({ api, collection });
    const stop = new AbortController();
    const running = informer.run(stop.signal);
    await informer.synced(signal);
    await api.create(map('before'), { signal });
    await expect.poll(() => informer.get('default/before')).toBeDefined();

    await server.goAway();
    await expect.poll(() => informer.problem, { timeout: 15_000 }).toContain('ConfigMap');
    await expect(api.get({ ...collection, name: 'before' }, { signal })).rejects.toMatchObject({
      code: 'unavailable',
    });
    expect(informer.get('default/before')).toBeDefined();
    await server.comeBack();
    await api.delete({ ...collection, name: 'before' }, { signal });
    await api.create(map('after'), { signal });
    await expect.poll(() => informer.keys(), { timeout: 30_000 }).toContain('default/after');
    expect(informer.keys()).not.toContain('default/before');
    stop.abort();
    await running;
  }, 60_000);

  it('The REST client elects one leader, and kubectl can read its Lease', async () => {
    const lease = { namespace: 'default', name: 'elected' };
    const stop = new AbortController();
    const leaders: string[] = [];
    const running = ['one', 'two'].map((identity) => {
      const election = new LeaderElection({
        api,
        lease,
        identity,
        retryEveryMs: 200,
        clock: systemClock,
      });
      const lead = (over: AbortSignal) => {
        leaders.push(identity);
        return new Promise<void>((resolve) => over.addEventListener('abort', () => resolve()));
      };
      return election.run(lead, stop.signal);
    });
    await expect.poll(() => leaders, { timeout: 10_000 }).toHaveLength(1);
    const read = () => server.get<Lease>('lease', 'elected', '-n', 'default');
    await expect.poll(async () => (await read()).spec?.holderIdentity).toBe(leaders[0]);
    stop.abort();
    await Promise.all(running);
    expect(leaders).toHaveLength(1);
    expect((await read()).spec?.holderIdentity ?? '').toBe('');
  });
});

function closing(api: RestKubeApi) {
  return { api, [Symbol.dispose]: () => api.close() };
}

function definitionOf(group: string): KubeObject {
  const schema = { openAPIV3Schema: { type: 'object' } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `things.${group}` },
    spec: {
      group,
      scope: 'Cluster',
      names: { plural: 'things', singular: 'thing', kind: 'Thing' },
      versions: [{ name: 'v1', served: true, storage: true, schema }],
    },
  };
}
