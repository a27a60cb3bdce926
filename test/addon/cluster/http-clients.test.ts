import { describe, expect, it } from 'vitest';
import { fields } from '../../../src/addon/api/fields.ts';
import type { AgentInput } from '../../../src/addon/cluster/agent-values.ts';
import {
  agentInput,
  configuredInput,
  deployment,
  manifestsOf,
  problemsOf,
  rendered,
  variables,
} from './agent-inputs.ts';

const impersonator = 'cluster-proxy-addon-agent-impersonator';
const objectsOf = (input: AgentInput, kind: string) =>
  manifestsOf(rendered(input).works).filter((object) => object.kind === kind);
/** The verbs on each resource that the agent has in the whole cluster. */
const rightsOf = (input: AgentInput) =>
  objectsOf(input, 'ClusterRole').flatMap(({ rules }) =>
    (rules as { resources: string[]; verbs: string[] }[]).map(
      ({ resources, verbs }) => `${verbs.join()} ${resources.join()}`,
    ),
  );
const review = ['create tokenreviews', 'get services'];
const all = [...review, 'impersonate users', 'impersonate groups'];

describe('the agent of a cluster with HTTP clients', () => {
  it.each<[string | undefined, readonly string[]]>([
    [undefined, all],
    ['true', all],
    ['T', all],
    ['1', all],
    ['false', review],
    ['F', review],
  ])('The agent with enableImpersonation %s has its rights', (value, rights) => {
    const parts = { enableServiceProxy: true };
    const input =
      value === undefined
        ? agentInput(parts)
        : configuredInput(variables({ enableImpersonation: value }), parts);
    expect(rightsOf(input)).toEqual(rights);
    const isOff = deployment(input).container.args.includes('--enable-impersonation=false');
    expect(isOff).toBe(rights === review);
  });

  it('The agent without HTTP clients has no rights in the whole cluster', () => {
    const off = variables({ enableServiceProxy: 'false' });
    for (const input of [agentInput(), configuredInput(off, { enableServiceProxy: true })]) {
      expect(objectsOf(input, 'ClusterRole')).toEqual([]);
      expect(objectsOf(input, 'ClusterRoleBinding')).toEqual([]);
    }
  });

  it.each([
    ['open-cluster-management-agent-addon', impersonator],
    ['elsewhere', `${impersonator}:elsewhere`],
  ])('The binding of an agent in the namespace %s is named as in Cluster Proxy', (ns, name) => {
    const input = agentInput({ enableServiceProxy: true, agentInstallNamespace: ns });
    const [binding] = objectsOf(input, 'ClusterRoleBinding');
    expect(binding).toMatchObject({
      metadata: { name },
      roleRef: { kind: 'ClusterRole', name: impersonator },
      subjects: [{ kind: 'ServiceAccount', name: 'cluster-proxy', namespace: ns }],
    });
  });

  it('The agent trusts the CAs of Services in a ConfigMap, which may be missing', () => {
    const { proxy } = agentInput();
    const byFleet = agentInput({ proxy: { ...proxy, serviceCaConfigMap: 'fleet' } });
    const byCluster = configuredInput(variables({ additionalServiceCAConfigMap: 'own' }), {
      proxy: { ...proxy, serviceCaConfigMap: 'fleet' },
    });
    for (const [input, name] of [
      [byFleet, 'fleet'],
      [byCluster, 'own'],
    ] as const) {
      const { container, pod } = deployment(input);
      expect(container.args).toContain('--service-ca-file=/additional-service-ca/service-ca.crt');
      expect(fields(pod)['volumes']).toContainEqual({
        name: 'additional-service-ca',
        configMap: { name, optional: true },
      });
      expect(fields(container)['volumeMounts']).toContainEqual({
        name: 'additional-service-ca',
        mountPath: '/additional-service-ca',
        readOnly: true,
      });
    }
  });

  it('A value that is neither true nor false is a problem', () => {
    expect(problemsOf(configuredInput(variables({ enableImpersonation: 'yes' })))).toContain(
      'enableImpersonation="yes" is neither true nor false',
    );
  });
});
