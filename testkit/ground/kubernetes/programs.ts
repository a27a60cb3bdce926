import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Missing } from '../cache.ts';
import { findGoBuild, prepareGoBuild, type GoBuild, type Report } from '../go-build.ts';

/** The version of Kubernetes. Servers also report it, because helm and OCM read it. */
export const kubernetesVersion = 'v1.34.4';

const [major, minor] = kubernetesVersion.slice(1).split('.');
const stamp = {
  'k8s.io/component-base/version.gitVersion': kubernetesVersion,
  'k8s.io/component-base/version.gitMajor': major,
  'k8s.io/component-base/version.gitMinor': minor,
  'k8s.io/client-go/pkg/version.gitVersion': kubernetesVersion,
};
const linkerFlags = Object.entries(stamp)
  .map(([variable, value]) => `-X ${variable}=${value}`)
  .join(' ');

type Module = 'kubernetes' | 'ocm' | 'images';

const recipes = {
  'kube-apiserver': { module: 'kubernetes', package: 'k8s.io/kubernetes/cmd/kube-apiserver' },
  'kube-controller-manager': {
    module: 'kubernetes',
    package: 'k8s.io/kubernetes/cmd/kube-controller-manager',
  },
  'kube-scheduler': { module: 'kubernetes', package: 'k8s.io/kubernetes/cmd/kube-scheduler' },
  'kube-proxy': { module: 'kubernetes', package: 'k8s.io/kubernetes/cmd/kube-proxy' },
  kubelet: { module: 'kubernetes', package: 'k8s.io/kubernetes/cmd/kubelet' },
  etcd: { module: 'ocm', package: 'go.etcd.io/etcd/server/v3' },
  kubectl: { module: 'ocm', package: 'k8s.io/kubernetes/cmd/kubectl' },
  helm: { module: 'ocm', package: 'helm.sh/helm/v3/cmd/helm' },
  'ocm-registration': { module: 'ocm', package: 'open-cluster-management.io/ocm/cmd/registration' },
  'ocm-work': { module: 'ocm', package: 'open-cluster-management.io/ocm/cmd/work' },
  'ocm-addon': { module: 'ocm', package: 'open-cluster-management.io/ocm/cmd/addon' },
  'ocm-placement': { module: 'ocm', package: 'open-cluster-management.io/ocm/cmd/placement' },
  'ocm-manifests': { module: 'ocm', package: './manifests' },
  coredns: { module: 'images', package: './coredns' },
  pause: { module: 'images', package: './pause' },
} satisfies Record<string, { module: Module; package: string }>;

export type ProgramName = keyof typeof recipes;
/** Paths of executables. */
export type Programs<Name extends ProgramName = ProgramName> = Readonly<Record<Name, string>>;

export const allPrograms = Object.keys(recipes) as ProgramName[];
/** The programs that `startApiServer` needs, and helm. */
export const apiServerPrograms = [
  'kube-apiserver',
  'kube-controller-manager',
  'etcd',
  'kubectl',
  'helm',
  'ocm-manifests',
] as const satisfies ProgramName[];
export type ApiServerProgram = (typeof apiServerPrograms)[number];

/** The built programs, or the reason why one is missing. Builds nothing. */
export async function findPrograms<Name extends ProgramName>(
  names: readonly Name[],
): Promise<Programs<Name> | Missing> {
  return collect(names, findGoBuild);
}

/** Builds the missing programs. A full build takes about 12 minutes on two cores. */
export async function preparePrograms<Name extends ProgramName>(
  names: readonly Name[],
  report: Report,
): Promise<Programs<Name> | Missing> {
  return collect(names, (build) => prepareGoBuild(build, report));
}

async function collect<Name extends ProgramName>(
  names: readonly Name[],
  get: (build: GoBuild) => Promise<string | Missing>,
): Promise<Programs<Name> | Missing> {
  const paths: [Name, string][] = [];
  for (const name of names) {
    const directory = await get(buildOf(name));
    if (typeof directory !== 'string') return directory;
    paths.push([name, join(directory, name)]);
  }
  return Object.fromEntries(paths) as Programs<Name>;
}

function buildOf(name: ProgramName): GoBuild {
  const recipe = recipes[name];
  return {
    title: name,
    name,
    moduleDirectory: fileURLToPath(new URL(`go/${recipe.module}`, import.meta.url)),
    packages: { [name]: recipe.package },
    linkerFlags,
    duration: 'up to four minutes',
  };
}
