import { describe, expect, it } from 'vitest';
import type { ConfigLookup } from '../../../src/addon/api/config-reference.ts';
import type { Fields } from '../../../src/addon/api/fields.ts';
import { parseManifestWork } from '../../../src/addon/api/manifest-work.ts';
import {
  type AddOnStatusInput,
  addOnStatusPatch,
} from '../../../src/addon/cluster/addon-status.ts';
import { agentRegistrations } from '../../../src/addon/api/agent-identity.ts';
import {
  addOn,
  condition,
  deploymentConfigReference,
  nowMs,
  proxyConfigurationReference,
} from '../api/ocm-objects.ts';

type AddOnParts = NonNullable<Parameters<typeof addOn>[0]>;

function patch(status: Fields, parts: Partial<AddOnStatusInput> = {}, object: AddOnParts = {}) {
  return addOnStatusPatch({
    addon: addOn({ status, ...object }),
    registrations: agentRegistrations('cluster1', 'signer-1'),
    installNamespace: 'agents',
    findConfig: () => undefined,
    access: { kind: 'applied' },
    manifests: { kind: 'waiting' },
    nowMs,
    ...parts,
  });
}

/** The status after a patch, as the API server stores it. */
function patched(status: Fields, change: Fields | undefined): Fields {
  return { ...status, ...(change?.status as Fields | undefined) };
}

function conditionOf(status: Fields, type: string) {
  const conditions = status.conditions as readonly Fields[];
  return conditions.find((one) => one.type === type);
}

const settled = patched({}, patch({}));

function work(conditions: object[], manifests: object[] = []) {
  return parseManifestWork({
    apiVersion: 'work.open-cluster-management.io/v1',
    kind: 'ManifestWork',
    metadata: { name: 'addon-cluster-proxy-deploy-0', namespace: 'cluster1' },
    status: { conditions, resourceStatus: { manifests } },
  });
}

describe('addOnStatusPatch', () => {
  it('addOnStatusPatch writes what OCM leaves to an addon, based on the version that it read', () => {
    expect(patch({})).toEqual({
      metadata: { uid: expect.any(String), resourceVersion: '7' },
      status: {
        supportedConfigs: [
          { group: 'proxy.open-cluster-management.io', resource: 'managedproxyconfigurations' },
          { group: 'addon.open-cluster-management.io', resource: 'addondeploymentconfigs' },
        ],
        registrations: [
          expect.objectContaining({ signerName: 'kubernetes.io/kube-apiserver-client' }),
          expect.objectContaining({ signerName: 'open-cluster-management.io/proxy-agent-signer' }),
        ],
        namespace: 'agents',
        healthCheck: { mode: 'Lease' },
        conditions: [
          {
            type: 'RegistrationApplied',
            status: 'True',
            reason: 'SetPermissionApplied',
            message: 'Registration of the addon agent is configured',
            lastTransitionTime: '2026-11-22T12:00:00Z',
          },
        ],
      },
    });
  });

  it.each(['v1alpha1', 'v1beta1'])(
    'addOnStatusPatch writes nothing if nothing has changed, in %s',
    (version) => {
      const once = patched({}, patch({}, {}, { version }));
      expect(patch(once, { nowMs: nowMs + 5000 }, { version })).toBeUndefined();
    },
  );

  it('addOnStatusPatch ignores the order in which the supported configurations are stored', () => {
    const supportedConfigs = (settled.supportedConfigs as unknown[]).toReversed();
    expect(patch({ ...settled, supportedConfigs })).toBeUndefined();
  });

  it('addOnStatusPatch writes nothing for an addon that is being removed', () => {
    const metadata = { deletionTimestamp: '2026-11-22T11:00:00Z' };
    expect(patch({}, {}, { metadata })).toBeUndefined();
  });

  it('addOnStatusPatch keeps the conditions of others, and the time of a condition whose status is the same', () => {
    const conditions = [
      condition('Available', 'True'),
      condition('RegistrationApplied', 'True', 'Other', 'old words'),
      condition('Configured', 'False'),
    ];
    const next = patched(settled, patch({ ...settled, conditions }));
    expect(next.conditions).toEqual([
      conditions[0],
      expect.objectContaining({
        reason: 'SetPermissionApplied',
        lastTransitionTime: '2026-11-22T11:00:00Z',
      }),
      conditions[2],
    ]);
  });

  it('addOnStatusPatch keeps the namespace if the configuration is missing', () => {
    const next = patch({ ...settled, namespace: 'before' }, { installNamespace: undefined });
    expect(next).toBeUndefined();
  });

  it('addOnStatusPatch sets health checks back to the lease', () => {
    const change = patch({ ...settled, healthCheck: { mode: 'Customized' } });
    expect(change?.status).toEqual({ healthCheck: { mode: 'Lease' } });
  });

  it.each([
    [{ kind: 'pending', message: 'wait' }, 'False', 'PermissionConfigPending', 'wait'],
    [{ kind: 'failed', message: 'no' }, 'False', 'SetPermissionFailed', 'no'],
  ] as const)('addOnStatusPatch reports rights as %j', (access, status, reason, message) => {
    const next = patched(settled, patch(settled, { access }));
    expect(conditionOf(next, 'RegistrationApplied')).toMatchObject({ status, reason, message });
  });

  it('addOnStatusPatch keeps the subject that a klusterlet with tokens wrote', () => {
    const registrations = [
      {
        signerName: 'kubernetes.io/kube-apiserver-client',
        subject: { user: 'system:serviceaccount:cluster1:cluster-proxy-agent' },
      },
      (settled.registrations as unknown[])[1],
    ];
    expect(patch({ ...settled, kubeClientDriver: 'token', registrations })).toBeUndefined();
    const emptied = patch({ ...settled, kubeClientDriver: 'token' });
    expect(emptied?.status).toMatchObject({ registrations: [{ subject: { user: '' } }, {}] });
  });
});

describe('addOnStatusPatch and configurations', () => {
  const findConfig: ConfigLookup = ({ name }) => ({ generation: 9, specHash: `hash of ${name}` });
  const configReferences = [deploymentConfigReference, proxyConfigurationReference];
  const ownConfig = {
    group: 'addon.open-cluster-management.io',
    resource: 'addondeploymentconfigs',
    name: 'deploy',
    namespace: 'config',
  };

  it('addOnStatusPatch observes all configurations, and hashes those to which the addon itself refers', () => {
    const change = patch(
      { ...settled, configReferences },
      { findConfig },
      { spec: { configs: [ownConfig] } },
    );
    expect(change?.status).toEqual({
      configReferences: [
        {
          ...deploymentConfigReference,
          lastObservedGeneration: 9,
          desiredConfig: { name: 'deploy', namespace: 'config', specHash: 'hash of deploy' },
        },
        { ...proxyConfigurationReference, lastObservedGeneration: 9 },
      ],
    });
  });

  it.each([
    ['that does not exist', configReferences, () => undefined],
    ['of another kind', [{ ...deploymentConfigReference, resource: 'addontemplates' }], findConfig],
    ['that OCM has not resolved', [{ ...ownConfig, lastObservedGeneration: 0 }], findConfig],
  ])('addOnStatusPatch does not touch a reference to a configuration %s', (_, references, find) => {
    const status = { ...settled, configReferences: references };
    expect(patch(status, { findConfig: find })).toBeUndefined();
  });
});

describe('addOnStatusPatch and manifests', () => {
  const applied = [condition('Applied', 'True')];
  const stored = (works: ReturnType<typeof work>[], notices: string[] = []) =>
    ({ kind: 'stored', works, notices }) as const;
  const says = (manifests: AddOnStatusInput['manifests'], before: object[] = []) => {
    const conditions = [...(settled.conditions as object[]), ...before];
    const status = { ...settled, conditions };
    return conditionOf(patched(status, patch(status, { manifests })), 'ManifestApplied');
  };

  it('addOnStatusPatch reports manifests as applied when every ManifestWork is applied', () => {
    expect(says(stored([work(applied), work(applied)]))).toMatchObject({
      status: 'True',
      reason: 'AddonManifestApplied',
      message: 'manifests of addon are applied successfully',
    });
    expect(says(stored([work(applied), work([])]))).toBeUndefined();
  });

  it('addOnStatusPatch lists accepted settings that have no effect with the applied manifests', () => {
    expect(says(stored([work(applied)], ['x has no effect']))?.message).toBe(
      'manifests of addon are applied successfully; x has no effect',
    );
  });

  it('addOnStatusPatch names the object that the work agent could not apply', () => {
    const failed = work(
      [condition('Applied', 'False', 'AppliedManifestWorkFailed', 'Failed to apply')],
      [
        {
          resourceMeta: { kind: 'Deployment', namespace: 'agents', name: 'a' },
          conditions: [condition('Applied', 'False', 'No', 'forbidden')],
        },
        {
          resourceMeta: { kind: 'Namespace', name: 'agents' },
          conditions: [condition('Applied', 'True')],
        },
      ],
    );
    expect(says(stored([work(applied), failed]))).toMatchObject({
      status: 'False',
      reason: 'AddonManifestAppliedFailed',
      message:
        'ManifestWork cluster1/addon-cluster-proxy-deploy-0: the work agent could not apply Deployment agents/a: forbidden',
    });
  });

  it('addOnStatusPatch reports the reason if the manifests cannot be rendered', () => {
    expect(says({ kind: 'failed', message: 'replicas="x" is not a whole number' })).toMatchObject({
      status: 'False',
      reason: 'ManifestWorkApplyFailed',
      message: 'replicas="x" is not a whole number',
    });
  });

  it.each([
    ['forgets a failure', 'False', undefined],
    ['keeps a success', 'True', expect.objectContaining({ status: 'True' })],
  ])('addOnStatusPatch %s until the work agent has answered', (_, status, expected) => {
    expect(says(stored([work([])]), [condition('ManifestApplied', status)])).toEqual(expected);
  });

  it('addOnStatusPatch does not mention manifests that wait', () => {
    expect(says({ kind: 'waiting' })).toBeUndefined();
    const before = condition('ManifestApplied', 'False');
    expect(says({ kind: 'waiting' }, [before])).toEqual(before);
  });
});
