import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMissing, type Missing } from './cache.ts';
import { findGoBuild, prepareGoBuild, type GoBuild, type Report } from './go-build.ts';

export type { Report } from './go-build.ts';

/** Paths of our programs on the unmodified konnectivity client, built from testkit/ground/go. */
export interface GoPrograms {
  /** The test client. */
  readonly client: string;
  /** The load generator and its targets. */
  readonly load: string;
}

/**
 * Paths of the programs of a konnectivity server and agent, at the version of
 * testkit/ground/go/go.mod.
 */
export interface UpstreamPrograms {
  readonly server: string;
  readonly agent: string;
}

/** The path of h2spec, a conformance test of HTTP/2 servers, at testkit/ground/go-h2spec/go.mod. */
export interface H2spec {
  readonly h2spec: string;
}

/**
 * The path of a client with the reusable tunnel of konnectivity-client, whose version is in
 * testkit/ground/go-reusable/go.mod.
 */
export interface ReusableClient {
  readonly reusable: string;
}

const moduleDirectory = fileURLToPath(new URL('go', import.meta.url));
const upstream = 'sigs.k8s.io/apiserver-network-proxy/cmd';
// Two builds, because `npm test` needs only the first, and the second takes most of the time.
const clientBuild: GoBuild = {
  title: 'the Go konnectivity client',
  name: 'client',
  moduleDirectory,
  packages: { client: './client', load: './load' },
  duration: 'about half a minute',
};
const upstreamBuild: GoBuild = {
  title: 'konnectivity server and agent',
  name: 'upstream',
  moduleDirectory,
  packages: { server: `${upstream}/server`, agent: `${upstream}/agent` },
  duration: 'about two minutes',
};
const h2specBuild: GoBuild = {
  title: 'h2spec',
  name: 'h2spec',
  moduleDirectory: fileURLToPath(new URL('go-h2spec', import.meta.url)),
  packages: { h2spec: 'github.com/summerwind/h2spec/cmd/h2spec' },
  duration: 'about half a minute',
};

const reusableBuild: GoBuild = {
  title: 'the client with a reusable tunnel',
  name: 'reusable',
  moduleDirectory: fileURLToPath(new URL('go-reusable', import.meta.url)),
  packages: { reusable: '.' },
  duration: 'about half a minute',
};

/** The built programs, or the reason why they are missing. Builds nothing. */
export async function findGoPrograms(): Promise<GoPrograms | Missing> {
  return pathsIn(await findGoBuild(clientBuild), 'client', 'load');
}

export async function findUpstreamPrograms(): Promise<UpstreamPrograms | Missing> {
  return pathsIn(await findGoBuild(upstreamBuild), 'server', 'agent');
}

export async function findH2spec(): Promise<H2spec | Missing> {
  return pathsIn(await findGoBuild(h2specBuild), 'h2spec');
}

export async function findReusableClient(): Promise<ReusableClient | Missing> {
  return pathsIn(await findGoBuild(reusableBuild), 'reusable');
}

/** Builds the missing programs, with Go's own module client and the committed go.sum. */
export async function prepareGoPrograms(report: Report): Promise<GoPrograms | Missing> {
  return pathsIn(await prepareGoBuild(clientBuild, report), 'client', 'load');
}

export async function prepareUpstreamPrograms(report: Report): Promise<UpstreamPrograms | Missing> {
  return pathsIn(await prepareGoBuild(upstreamBuild, report), 'server', 'agent');
}

export async function prepareH2spec(report: Report): Promise<H2spec | Missing> {
  return pathsIn(await prepareGoBuild(h2specBuild, report), 'h2spec');
}

export async function prepareReusableClient(report: Report): Promise<ReusableClient | Missing> {
  return pathsIn(await prepareGoBuild(reusableBuild, report), 'reusable');
}

/** The paths of executables in the directory of their build. */
export function pathsIn<Name extends string>(
  directory: string | Missing,
  ...names: readonly Name[]
): Readonly<Record<Name, string>> | Missing {
  if (typeof directory !== 'string' && isMissing(directory)) return directory;
  return Object.fromEntries(names.map((name) => [name, join(directory, name)])) as Record<
    Name,
    string
  >;
}
