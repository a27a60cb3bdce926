import type { Kubectl } from './kubectl.ts';
import { run } from './run.ts';

/**
 * Open Cluster Management's own objects: definitions, and the roles and ServiceAccounts of its
 * programs.
 */
export const ocmParts = ['hub-crds', 'hub-roles', 'managed-crds', 'managed-roles'] as const;
export type OcmPart = (typeof ocmParts)[number];

/** Applies the manifests and waits until the defined kinds are served. */
export async function applyOcm(
  renderer: string,
  kubectl: Kubectl,
  parts: readonly OcmPart[],
): Promise<void> {
  for (const part of parts) {
    if (part === 'managed-roles') await kubectl.apply(operatorsOwn);
    await kubectl.apply(await run({ command: renderer, args: [part] }));
    if (!part.endsWith('-crds')) continue;
    await kubectl.run(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
  }
}

// Objects that the operator makes without a manifest.
const operatorsOwn = [
  ...['open-cluster-management-agent', 'open-cluster-management-agent-addon'].map((name) => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name },
  })),
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'open-cluster-management:klusterlet-work:aggregate' },
    aggregationRule: {
      clusterRoleSelectors: [
        { matchLabels: { 'open-cluster-management.io/aggregate-to-work': 'true' } },
      ],
    },
  },
];
