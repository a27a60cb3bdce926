import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Missing } from './cache.ts';
import { findGoBuild, prepareGoBuild, type GoBuild, type Report } from './go-build.ts';

export type { Report } from './go-build.ts';

/** Paths of executables built from testkit/ground/go. */
export interface GoPrograms {
  /** Upstream's konnectivity proxy-server. */
  readonly server: string;
  /** Upstream's konnectivity proxy-agent. */
  readonly agent: string;
  /** Our test client on the unmodified konnectivity-client. */
  readonly client: string;
  /** Our load generator and its targets, on the same client. */
  readonly load: string;
}

const upstream = 'sigs.k8s.io/apiserver-network-proxy/cmd';
const build: GoBuild = {
  title: 'Go programs',
  moduleDirectory: fileURLToPath(new URL('go', import.meta.url)),
  packages: {
    client: './client',
    load: './load',
    server: `${upstream}/server`,
    agent: `${upstream}/agent`,
  },
  duration: 'about two minutes',
};

/** The built programs, or why they are not there; builds nothing. */
export async function findGoPrograms(): Promise<GoPrograms | Missing> {
  return programsIn(await findGoBuild(build));
}

/** Builds what is not built yet, through Go's own module client and nothing but the committed go.sum. */
export async function prepareGoPrograms(report: Report): Promise<GoPrograms | Missing> {
  return programsIn(await prepareGoBuild(build, report));
}

function programsIn(directory: string | Missing): GoPrograms | Missing {
  if (typeof directory !== 'string') return directory;
  return {
    server: join(directory, 'server'),
    agent: join(directory, 'agent'),
    client: join(directory, 'client'),
    load: join(directory, 'load'),
  };
}
