import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { agentInput, manifest } from '../addon/cluster/agent-inputs.ts';
import { eventually } from '../../testkit/world/real-hub.ts';
import { deploymentOf, plan } from '../addon/hub/hub-fixture.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../testkit/ground/kubernetes/api-server.ts';
import {
  mutatingPolicyFlags,
  namespaceUser,
  openShiftAdmission,
} from '../../testkit/ground/kubernetes/openshift-admission.ts';
import { apiServerPrograms, findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { Helm, objectOf } from '../../testkit/kube/helm.ts';

const programs = await findPrograms(apiServerPrograms);
const ns = 'openshift';
const agentValues = {
  clusterName: 'c1',
  brokerUrl: 'wss://b',
  token: { value: 'x' },
  caBundle: '-----BEGIN CERTIFICATE-----',
};
const onOpenShift = ['--api-versions=security.openshift.io/v1'];

interface PodSpec {
  readonly securityContext?: object;
  readonly containers: readonly { readonly securityContext?: object }[];
}

describeWith({ programs }, "OpenShift's restricted-v2", ({ programs }) => {
  const helm = new Helm(programs.helm);
  let server: RunningApiServer;

  /** The pod of a Deployment as admission leaves it. */
  const admitted = async ({ spec }: KubeObject): Promise<PodSpec> => {
    const { template } = spec as { template: { spec: object } };
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'pod', namespace: ns },
      // Accounts are of another namespace.
      spec: { ...template.spec, serviceAccountName: 'default' },
    };
    const args = ['create', '--dry-run=server', '-o', 'json', '-f', '-'];
    const text = await server.kubectl(args, { input: JSON.stringify(pod) });
    return (JSON.parse(text) as { spec: PodSpec }).spec;
  };
  const withUser = (securityContext: object) => {
    const { metadata, spec, ...rest } = deploymentOf(plan());
    const template = spec['template'] as { spec: object };
    const pod = { ...template.spec, securityContext };
    return { ...rest, metadata, spec: { ...spec, template: { ...template, spec: pod } } };
  };

  beforeAll(async () => {
    server = await startApiServer(programs, {
      apiServerFlags: mutatingPolicyFlags,
      controllerManager: true,
    });
    await server.kubectl(['create', 'namespace', ns]);
    await server.apply(openShiftAdmission([ns]));
    await eventually(async () => {
      const { containers } = await admitted(deploymentOf(plan()));
      return 'runAsUser' in (containers[0]!.securityContext ?? {}) || undefined;
    });
    await eventually(() =>
      admitted(withUser({ runAsUser: 65_532 })).then(
        () => undefined,
        () => true,
      ),
    );
  }, 120_000);
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  it.each([
    ['the manager', 'cluster-proxy', {}, 'cluster-proxy-addon-manager'],
    ['the bundled Redis', 'cluster-proxy', {}, 'cluster-proxy-redis'],
    ['the agent of the chart', 'agent', agentValues, 'release-name-culvert-agent'],
  ] as const)(
    'The restricted-v2 policy admits %s with a user of the namespace',
    async (_, chart, values, name) => {
      const objects = await helm.template(chart, values, onOpenShift);
      expectNamespaceUser(await admitted(objectOf(objects, 'Deployment', name)));
    },
  );

  it.each([
    ['the brokers', () => deploymentOf(plan())],
    ['the agent of the addon', () => manifest(agentInput(), 'Deployment')],
  ])('The restricted-v2 policy admits %s with a user of the namespace', async (_, deployment) => {
    expectNamespaceUser(await admitted(deployment()));
  });

  it('The restricted-v2 policy admits the bundled Redis of templates that were rendered elsewhere with redis.runAsUser none', async () => {
    const objects = await helm.template('cluster-proxy', { redis: { runAsUser: 'none' } });
    expectNamespaceUser(await admitted(objectOf(objects, 'Deployment', 'cluster-proxy-redis')));
  });

  describe('The refusals of restricted-v2', () => {
    it.each([
      ['a user of its own', { runAsUser: 65_532 }, /runAsUser must be in the range/],
      ['a group of its own', { fsGroup: 65_532 }, /fsGroup must be in the range/],
      ['another profile', { seccompProfile: { type: 'Unconfined' } }, /must be RuntimeDefault/],
    ])('The restricted-v2 policy refuses a pod with %s', async (_, securityContext, why) => {
      await expect(admitted(withUser(securityContext))).rejects.toThrow(why);
    });
  });

  function expectNamespaceUser({ securityContext, containers }: PodSpec): void {
    expect(securityContext).toMatchObject({ fsGroup: namespaceUser });
    expect(securityContext).not.toHaveProperty('runAsGroup');
    for (const container of containers) {
      expect(container.securityContext).toMatchObject({ runAsUser: namespaceUser });
    }
  }
});
