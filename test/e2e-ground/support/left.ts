import type { GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';

/** What Kubernetes puts into every namespace. */
const ofEveryNamespace = ['configmap/kube-root-ca.crt', 'serviceaccount/default'];
const kinds = [
  ...['deployments', 'pods', 'services', 'ingresses', 'secrets', 'configmaps', 'serviceaccounts'],
  ...['roles', 'rolebindings', 'leases', 'poddisruptionbudgets', 'networkpolicies'],
];
/** Only where there is a hub. */
const hubKinds = [...kinds, 'managedclusteraddons', 'manifestworks'];

/** The objects in a namespace, as `kind/name`, that Kubernetes did not create itself. */
export async function leftIn(
  cluster: GroundCluster,
  namespace: string,
  where: 'hub' | 'managed' = 'managed',
): Promise<readonly string[]> {
  const resources = (where === 'hub' ? hubKinds : kinds).join(',');
  const text = await cluster.kubectl(['-n', namespace, 'get', resources, '-o', 'name']);
  return text
    .trim()
    .split('\n')
    .map((name) => name.replace(/^(\w+)[^/]*/, '$1'))
    .filter((name) => name !== '' && !ofEveryNamespace.includes(name))
    .sort();
}

/** For `eventually`: that nothing is left, or an error that names it. */
export function nothing(left: readonly string[]): Promise<true> {
  if (left.length === 0) return Promise.resolve(true);
  return Promise.reject(new Error(`left: ${left.join(', ')}`));
}
