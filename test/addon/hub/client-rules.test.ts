import { describe, expect, it } from 'vitest';
import { fields, items } from '../../../src/addon/api/fields.ts';
import { argsOf, configurationOf, containerOf, plan, podOf, rendered } from './hub-fixture.ts';

const reviews = (from: ReturnType<typeof plan>) =>
  items(
    rendered(from, 'ClusterRole', 'open-cluster-management:cluster-proxy:proxy-server')['rules'],
  )
    .flatMap(({ resources }) => resources)
    .includes('subjectaccessreviews');
const volumesOf = (from: ReturnType<typeof plan>) => items(fields(podOf(from)['spec'])['volumes']);

describe('the rules for clients of the brokers', () => {
  it('Brokers have no rules by default', () => {
    const planned = plan(configurationOf({}));
    expect(argsOf(planned).filter((arg) => /policy|authorization/.test(arg))).toEqual([]);
    expect(volumesOf(planned).filter(({ configMap }) => configMap !== undefined)).toEqual([]);
    expect(reviews(planned)).toBe(false);
  });

  it('Brokers read the policy in a ConfigMap, without which they do not start', () => {
    const planned = plan(configurationOf({ policyConfigMapRef: { name: 'rules' } }));
    expect(argsOf(planned)).toContain('--policy-file=/etc/policy/policy.yaml');
    expect(volumesOf(planned)).toContainEqual({
      name: 'policy',
      configMap: { name: 'rules', items: [{ key: 'policy.yaml', path: 'policy.yaml' }] },
    });
    expect(items(containerOf(planned)['volumeMounts'])).toContainEqual({
      name: 'policy',
      mountPath: '/etc/policy/',
      readOnly: true,
    });
  });

  it('Brokers that ask the hub for its rules have the right to ask', () => {
    const planned = plan(configurationOf({ hubAuthorization: 'SubjectAccessReview' }));
    expect(argsOf(planned)).toContain('--hub-authorization');
    expect(reviews(planned)).toBe(true);
  });
});
