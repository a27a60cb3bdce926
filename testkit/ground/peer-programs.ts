import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runProgram } from '../processes/process.ts';
import { cacheDirectory, isMissing, publish, type Missing } from './cache.ts';
import { prepareGoBuild, type GoBuild, type Report } from './go-build.ts';

// The versions of the Go programs are in testkit/ground/peers/*/go.mod.
const rathole = { crate: 'rathole', version: '0.5.0', features: 'server,client,tls' } as const;
const cargoTimeoutMs = 20 * 60_000;

const frpBuild: GoBuild = {
  title: 'frp',
  name: 'frp',
  moduleDirectory: fileURLToPath(new URL('peers/frp', import.meta.url)),
  packages: {
    frps: 'github.com/fatedier/frp/cmd/frps',
    frpc: 'github.com/fatedier/frp/cmd/frpc',
  },
  // Its web pages are not in the module.
  tags: 'noweb',
  duration: 'about a minute',
};
const chiselBuild: GoBuild = {
  title: 'chisel',
  name: 'chisel',
  moduleDirectory: fileURLToPath(new URL('peers/chisel', import.meta.url)),
  packages: { chisel: 'github.com/jpillora/chisel' },
  duration: 'about half a minute',
};

/** Paths of other tunnels for plain TCP, or the reasons why they are missing. */
export interface PeerPrograms {
  readonly frp: { readonly server: string; readonly client: string } | Missing;
  readonly chisel: string | Missing;
  readonly rathole: string | Missing;
}

/** Builds what is not in the cache yet: Go's modules with go.sum, and a crate. */
export async function preparePeerPrograms(report: Report): Promise<PeerPrograms> {
  const frp = await prepareGoBuild(frpBuild, report);
  const chisel = await prepareGoBuild(chiselBuild, report);
  return {
    frp: typeof frp === 'string' ? { server: join(frp, 'frps'), client: join(frp, 'frpc') } : frp,
    chisel: typeof chisel === 'string' ? join(chisel, 'chisel') : chisel,
    rathole: await prepareRathole(report),
  };
}

export function isMissingProgram(found: string | object): found is Missing {
  return typeof found !== 'string' && isMissing(found);
}

async function prepareRathole(report: Report): Promise<string | Missing> {
  const { crate, version, features } = rathole;
  const directory = join(cacheDirectory(), 'cargo', `${crate}-${version}-${process.arch}`);
  const path = join(directory, 'bin', crate);
  if (existsSync(path)) return path;
  try {
    await publish(directory, async (partial) => {
      report(`building ${crate} ${version}, some minutes the first time ...`);
      // Its lock file has a version of a crate that present compilers refuse.
      const flags = ['--version', version, '--no-default-features', '--features', features];
      const { code, output } = await runProgram({
        command: 'nice',
        args: ['cargo', 'install', crate, ...flags, '--root', partial],
        timeoutMs: cargoTimeoutMs,
      });
      if (code !== 0) throw new Error(`cargo ended with code ${code}: ${output.slice(-1000)}`);
    });
    return path;
  } catch (error) {
    return { missing: crate, reason: error instanceof Error ? error.message : String(error) };
  }
}
