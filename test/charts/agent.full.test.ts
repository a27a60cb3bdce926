import { describe, expect, it } from 'vitest';
import { readAgentOptions } from '../../src/agent/options.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { chartDirectory, findHelm, objectOf, type Values } from '../../testkit/kube/helm.ts';
import { merged, valueNames, valuesOf } from './leaves.ts';

const helm = await findHelm();

const pem = '-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----';
const required = {
  clusterName: 'prod-1',
  brokerUrl: 'wss://broker.example.com',
  token: { secretName: 'culvert-token' },
};
const name = 'release-name-culvert-agent';
const deployment = ['Deployment', name] as const;

const pod = (spec: object) => ({ spec: { template: { spec } } });
const container = (spec: object) => pod({ containers: [spec] });
const arg = (text: string) => container({ args: expect.arrayContaining([text]) });
const env = (variable: object) => container({ env: expect.arrayContaining([variable]) });
const limits = { limits: { memory: '1Gi' } };
const toleration = { key: 'infra', operator: 'Exists' };

type Row = readonly [
  name: string,
  value: unknown,
  object: readonly [kind: string, name: string],
  expected: object,
];

const tokenReviews = {
  apiGroups: ['authentication.k8s.io'],
  resources: ['tokenreviews'],
  verbs: ['create'],
};
const services = { apiGroups: [''], resources: ['services'], verbs: ['get'] };
const impersonate = { apiGroups: [''], resources: ['users', 'groups'], verbs: ['impersonate'] };

const rows: readonly Row[] = [
  ['clusterName', 'c2', deployment, arg('--cluster=c2')],
  ['brokerUrl', 'wss://b:8443', deployment, arg('--broker-url=wss://b:8443')],
  ['token.secretName', 's', deployment, pod({ volumes: [{ secret: { secretName: 's' } }] })],
  ['token', { key: 'jwt' }, deployment, arg('--token-file=/etc/culvert/token/jwt')],
  [
    'token',
    { secretName: '', value: 'abc' },
    ['Secret', `${name}-token`],
    { stringData: { token: 'abc' } },
  ],
  [
    'token',
    { secretName: '', value: 'abc' },
    deployment,
    pod({ volumes: [{ secret: { secretName: `${name}-token` } }] }),
  ],
  ['allow', ['db.internal:5432', '*.svc:443'], deployment, arg('--allow=*.svc:443')],
  ['kubeApiserver', '10.0.0.1:6443', deployment, arg('--kube-apiserver=10.0.0.1:6443')],
  [
    'httpClients.enabled',
    true,
    ['ClusterRole', `hub-ns:${name}`],
    { rules: [tokenReviews, services, impersonate] },
  ],
  [
    'httpClients.enabled',
    true,
    ['ClusterRoleBinding', `hub-ns:${name}`],
    { subjects: [{ kind: 'ServiceAccount', name, namespace: 'hub-ns' }] },
  ],
  ['httpClients.enabled', true, deployment, pod({ automountServiceAccountToken: true })],
  [
    'httpClients',
    { enabled: true, impersonation: false },
    ['ClusterRole', `hub-ns:${name}`],
    { rules: [tokenReviews, services] },
  ],
  [
    'httpClients',
    { enabled: true, impersonation: false },
    deployment,
    arg('--enable-impersonation=false'),
  ],
  [
    'httpClients.serviceCaConfigMap',
    'cas',
    deployment,
    arg('--service-ca-file=/etc/culvert/service-ca/service-ca.crt'),
  ],
  [
    'httpClients.serviceCaConfigMap',
    'cas',
    deployment,
    pod({
      volumes: expect.arrayContaining([
        { name: 'service-ca', configMap: { name: 'cas', optional: true } },
      ]),
    }),
  ],
  ['caBundle', pem, ['ConfigMap', `${name}-ca`], { data: { 'ca.crt': pem } }],
  ['caBundle', pem, deployment, arg('--ca-file=/etc/culvert/ca/ca.crt')],
  ['serverName', 'broker', deployment, arg('--server-name=broker')],
  ['hostHeader', 'broker', deployment, arg('--host-header=broker')],
  ['headersSecretName', 's', deployment, arg('--header-file=/etc/culvert/headers/headers')],
  [
    'headersSecretName',
    's',
    deployment,
    pod({
      volumes: expect.arrayContaining([
        { name: 'headers', secret: expect.objectContaining({ secretName: 's' }) },
      ]),
    }),
  ],
  [
    'proxy.httpsProxy',
    'http://u:p@proxy:3128',
    deployment,
    env({ name: 'HTTPS_PROXY', value: 'http://u:p@proxy:3128' }),
  ],
  [
    'proxy.secretName',
    's',
    deployment,
    env({ name: 'HTTPS_PROXY', valueFrom: { secretKeyRef: { name: 's', key: 'httpsProxy' } } }),
  ],
  [
    'proxy.httpsProxy',
    'http://u:a$$b$(POD_NAME)@proxy:3128',
    deployment,
    // Kubernetes reads $$ as a dollar, and $(NAME) as a reference.
    env({ name: 'HTTPS_PROXY', value: 'http://u:a$$$$b$$(POD_NAME)@proxy:3128' }),
  ],
  ['proxy.noProxy', '.internal', deployment, env({ name: 'NO_PROXY', value: '.internal' })],
  ['tunnels', 1, deployment, arg('--tunnels=1')],
  ['replicas', 3, deployment, { spec: { replicas: 3 } }],
  [
    'registry',
    'reg.example:5000/ocm',
    deployment,
    container({ image: 'reg.example:5000/ocm/cluster-proxy:v0.12.0' }),
  ],
  [
    'image',
    'culvert',
    deployment,
    container({ image: 'quay.io/open-cluster-management/culvert:v0.12.0' }),
  ],
  [
    'tag',
    'main',
    deployment,
    container({ image: 'quay.io/open-cluster-management/cluster-proxy:main' }),
  ],
  ['imagePullPolicy', 'Always', deployment, container({ imagePullPolicy: 'Always' })],
  ['imagePullSecrets', ['s'], deployment, pod({ imagePullSecrets: [{ name: 's' }] })],
  ['resources', limits, deployment, container({ resources: limits })],
  ['nodeSelector', { a: 'b' }, deployment, pod({ nodeSelector: { a: 'b' } })],
  ['tolerations', [toleration], deployment, pod({ tolerations: [toleration] })],
  ['priorityClassName', 'p', deployment, pod({ priorityClassName: 'p' })],
  ['logLevel', 'debug', deployment, arg('--log-level=debug')],
  ['drainTimeout', '2m', deployment, pod({ terminationGracePeriodSeconds: 130 })],
  ['drainTimeout', '2m', deployment, arg('--drain-timeout=2m')],
  [
    'networkPolicies.enabled',
    true,
    ['NetworkPolicy', name],
    { spec: { policyTypes: ['Ingress'], ingress: [] } },
  ],
];

const inRow = (value: string) =>
  rows.some(
    ([row, given]) =>
      row === value ||
      (value.startsWith(`${row}.`) &&
        (row === 'resources' || Object.hasOwn(given as object, value.slice(row.length + 1)))),
  );

describeWith({ helm }, 'charts/agent', ({ helm }) => {
  const defaults = helm.template('agent', required);

  it('The agent chart passes lint', async () => {
    const args = ['lint', '--strict', '--kube-version=1.34.4', chartDirectory('agent')];
    expect(await helm.run(args)).toContain('0 chart(s) failed');
  });

  it('The agent chart renders the golden file with default values', async () => {
    const text = await helm.templateText('agent', required);
    await expect(text).toMatchFileSnapshot('golden/agent.txt');
  });

  describe('A value of the agent chart', () => {
    it.each(rows)(
      "The agent chart's value %s = %j shows in %j",
      async (value, given, [kind, objectName], expected) => {
        const values = merged(required, valuesOf(value, given));
        const object = objectOf(await helm.template('agent', values), kind, objectName);
        expect(object).toMatchObject(expected);
        const same = (await defaults).find(
          (other) => other.kind === kind && other.metadata.name === objectName,
        );
        // Otherwise the row could not fail.
        expect(same ?? {}).not.toMatchObject(expected);
      },
    );

    it('Every value of the agent chart has a test', () => {
      expect(valueNames('agent').filter((value) => !inRow(value))).toEqual([]);
    });
  });

  it.each([
    [{ clusterName: '' }, 'clusterName is required: the name that the token was made for'],
    [{ brokerUrl: '' }, 'brokerUrl is required: where the broker is, wss://HOST[:PORT]'],
    [
      { token: { secretName: '' } },
      'token.secretName is required: `culvert token agent --cluster NAME > token` makes a token',
    ],
    [{ token: { value: 'x' } }, 'token.secretName and token.value are both set, keep one'],
    [
      { proxy: { httpsProxy: 'http://p:1', secretName: 's' } },
      'proxy.httpsProxy and proxy.secretName are both set',
    ],
    [{ brokerUrl: 'ws://b' }, "'ws://b' does not match pattern"],
    [{ brokerURL: 'wss://b' }, "additional properties 'brokerURL' not allowed"],
    [{ clusterName: 'Prod' }, "'Prod' does not match pattern"],
    [{ tunnels: 3 }, 'maximum: got 3, want 2'],
    [{ caBundle: 'MII' }, "'MII' does not match pattern"],
    [{ drainTimeout: '30' }, "'30' does not match pattern"],
    [{ drainTimeout: '99999m' }, "'99999m' does not match pattern"],
    [{ allow: ['db:1', 'junk'] }, "'junk' does not match pattern"],
    [{ kubeApiserver: 'https://k' }, "'https://k' does not match pattern"],
  ])('The agent chart refuses %j', async (values: Values, words) => {
    expect(await helm.refusal('agent', merged(required, values))).toContain(words);
  });

  it('The agent chart starts the agent with options that the agent accepts', async () => {
    const objects = await helm.template(
      'agent',
      merged(required, {
        caBundle: pem,
        serverName: 's',
        hostHeader: 'h',
        headersSecretName: 'h',
        allow: ['a.b:1'],
        httpClients: { enabled: true, impersonation: false, serviceCaConfigMap: 'cas' },
      }),
    );
    // One file for all that it names: the CA file alone is read at the start.
    await using certificates = await makeTestCertificates();
    const file = certificates.server.ca;
    const [command, ...args] = agentArgs(objects).map((text) =>
      text.replace(/\/etc\/culvert\/.*/, file),
    );
    expect(command).toBe('agent');
    expect(readAgentOptions(args, {}).options).toMatchObject({ cluster: 'prod-1', caFile: file });
  });

  it('The agent, which is neither root nor in the group of root, can read every Secret of its pod', async () => {
    const values = merged(required, { headersSecretName: 'h' });
    const objects = await helm.template('agent', values);
    const { volumes } = podOf(objects);
    // Without fsGroup the files belong to root.
    expect(podOf(objects).securityContext).not.toHaveProperty('fsGroup');
    const modes = volumes.flatMap(({ secret }) => (secret ? [secret.defaultMode ?? 0o644] : []));
    expect(modes.map((mode) => mode & 0o004)).toEqual([0o004, 0o004]);
  });

  it('The agent chart gives the agent no permissions and no token in the cluster', async () => {
    const objects = await defaults;
    expect(objects.map(({ kind }) => kind).sort()).toEqual(['Deployment', 'ServiceAccount']);
    expect(objectOf(objects, 'ServiceAccount', name)).toMatchObject({
      automountServiceAccountToken: false,
    });
    expect(objectOf(objects, ...deployment)).toMatchObject(
      pod({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
        containers: [
          {
            securityContext: {
              allowPrivilegeEscalation: false,
              readOnlyRootFilesystem: true,
              capabilities: { drop: ['ALL'] },
            },
          },
        ],
      }),
    );
  });
});

interface AgentPod {
  readonly containers: readonly { readonly args: readonly string[] }[];
  readonly securityContext: object;
  readonly volumes: readonly { readonly secret?: { readonly defaultMode?: number } }[];
}

function podOf(objects: readonly KubeObject[]): AgentPod {
  const { spec } = objectOf(objects, ...deployment) as unknown as {
    spec: { template: { spec: AgentPod } };
  };
  return spec.template.spec;
}

function agentArgs(objects: readonly KubeObject[]): readonly string[] {
  return podOf(objects).containers[0]!.args;
}
