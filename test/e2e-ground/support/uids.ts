import type { GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';

const inNamespaces = [
  ...['deployments', 'services', 'secrets', 'configmaps', 'serviceaccounts', 'roles'],
  ...['rolebindings', 'poddisruptionbudgets', 'networkpolicies', 'ingresses'],
];
const outside = ['clusterroles', 'clusterrolebindings'];
/** Only where there is a hub. */
const onHub = {
  inNamespaces: ['managedclusteraddons', 'manifestworks'],
  outside: ['clustermanagementaddons', 'managedproxyconfigurations', 'customresourcedefinitions'],
};

/** Kubernetes' and helm's own. */
const others = /^(ConfigMap kube-root-ca.crt|ServiceAccount default|Secret sh\.helm\..*)$/;

/** UIDs of what there is of the addon in that namespace, by `Kind name`. */
export async function uidsIn(
  cluster: GroundCluster,
  namespace: string,
  where: 'hub' | 'managed' = 'managed',
): Promise<ReadonlyMap<string, string>> {
  const more = where === 'hub' ? onHub.inNamespaces : [];
  return uidsOf(await cluster.get<List>('-n', namespace, [...inNamespaces, ...more].join(',')));
}

/** UIDs of objects without a namespace. */
export async function uidsOutside(
  cluster: GroundCluster,
  where: 'hub' | 'managed' = 'managed',
): Promise<ReadonlyMap<string, string>> {
  const more = where === 'hub' ? onHub.outside : [];
  const all = uidsOf(await cluster.get<List>([...outside, ...more].join(',')));
  return new Map([...all].filter(([name]) => /cluster-proxy|managedproxy/.test(name)));
}

/** The fate of the objects of `before`, by name. */
export function fateOf(
  before: ReadonlyMap<string, string>,
  after: ReadonlyMap<string, string>,
): { readonly gone: string[]; readonly madeAnew: string[]; readonly added: string[] } {
  const gone = [...before.keys()].filter((name) => !after.has(name));
  const madeAnew = [...before].flatMap(([name, uid]) => {
    return after.has(name) && after.get(name) !== uid ? [name] : [];
  });
  const added = [...after.keys()].filter((name) => !before.has(name));
  return { gone: gone.sort(), madeAnew: madeAnew.sort(), added: added.sort() };
}

interface List {
  readonly items: readonly {
    readonly kind: string;
    readonly metadata: { readonly name: string; readonly uid: string };
  }[];
}

function uidsOf({ items }: List): ReadonlyMap<string, string> {
  const named = items.map(({ kind, metadata: { name, uid } }) => [`${kind} ${name}`, uid] as const);
  return new Map(named.filter(([name]) => !others.test(name)));
}
