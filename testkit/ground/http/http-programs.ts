import { fileURLToPath } from 'node:url';
import { isMissing, type Missing } from '../cache.ts';
import { findGoBuild, prepareGoBuild, type GoBuild, type Report } from '../go-build.ts';
import { pathsIn } from '../go-programs.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Real clients of the HTTP plane, and the programs around them. */
export interface HttpPrograms {
  /** Measures requests. */
  readonly load: string;
  /** Follows objects with client-go's informers. */
  readonly informers: string;
  /** The streaming half of a kubelet. */
  readonly kubelet: string;
  /** kubectl 1.28, which streams only over SPDY. */
  readonly oldKubectl: string;
  readonly prometheus: string;
  /** Argo CD's application controller and repository server, as its first argument says. */
  readonly argocd: string;
  /** Upstream's user-server and service-proxy. */
  readonly clusterProxy: string;
}

export type HttpProgram = keyof HttpPrograms;

interface Recipe {
  readonly build: GoBuild;
  /** The name of the executable. */
  readonly executable: string;
}

const own: GoBuild = {
  title: 'the Go programs of the HTTP tests',
  name: 'http',
  moduleDirectory: here('go'),
  packages: { load: './load', informers: './informers', kubelet: './kubelet' },
  duration: 'about two minutes',
};

const recipes: Readonly<Record<HttpProgram, Recipe>> = {
  load: { build: own, executable: 'load' },
  informers: { build: own, executable: 'informers' },
  kubelet: { build: own, executable: 'kubelet' },
  oldKubectl: {
    executable: 'kubectl-old',
    build: {
      title: 'kubectl 1.28',
      name: 'kubectl-old',
      moduleDirectory: here('kubectl-old'),
      packages: { 'kubectl-old': '.' },
      // kubectl asks the server for things that depend on its own version.
      linkerFlags: [
        '-X k8s.io/component-base/version.gitVersion=v1.28.15',
        '-X k8s.io/component-base/version.gitMajor=1',
        '-X k8s.io/component-base/version.gitMinor=28',
      ].join(' '),
      duration: 'about two minutes',
    },
  },
  prometheus: {
    executable: 'prometheus',
    build: {
      title: 'Prometheus',
      name: 'prometheus',
      moduleDirectory: here('prometheus'),
      packages: { prometheus: 'github.com/prometheus/prometheus/cmd/prometheus' },
      duration: 'about five minutes',
    },
  },
  argocd: {
    executable: 'argocd',
    build: {
      title: 'Argo CD',
      name: 'argocd',
      moduleDirectory: here('argocd'),
      packages: { argocd: '.' },
      duration: 'about four minutes',
    },
  },
  clusterProxy: {
    executable: 'cluster-proxy',
    build: {
      title: "upstream's user-server and service-proxy",
      name: 'user-server',
      moduleDirectory: here('../kubernetes/go/ocm'),
      packages: { 'cluster-proxy': 'open-cluster-management.io/cluster-proxy/cmd/cluster-proxy' },
      duration: 'about a minute',
    },
  },
};

/** The built programs, or the reason why one is missing. Builds nothing. */
export async function findHttpPrograms<Name extends HttpProgram>(
  names: readonly Name[],
): Promise<Pick<HttpPrograms, Name> | Missing> {
  return collect(names, findGoBuild);
}

/** Builds the missing programs. */
export async function prepareHttpPrograms<Name extends HttpProgram>(
  names: readonly Name[],
  report: Report,
): Promise<Pick<HttpPrograms, Name> | Missing> {
  return collect(names, (build) => prepareGoBuild(build, report));
}

async function collect<Name extends HttpProgram>(
  names: readonly Name[],
  get: (build: GoBuild) => Promise<string | Missing>,
): Promise<Pick<HttpPrograms, Name> | Missing> {
  const paths: [Name, string][] = [];
  for (const name of names) {
    const { build, executable } = recipes[name];
    const found = pathsIn(await get(build), executable);
    if (isMissing(found)) return found;
    paths.push([name, found[executable]!]);
  }
  // One entry for each name.
  return Object.fromEntries(paths) as Pick<HttpPrograms, Name>;
}
