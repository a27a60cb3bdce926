// node scripts/build-library.ts: what other programs import, in lib/: a module and type
// declarations for each entry of `exports` in package.json. Packages that it needs are part of the
// bundle, except those of gRPC.
import { spawnSync } from 'node:child_process';
import { copyFileSync, globSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';
import { bundleOptions, licensesOf, projectDirectory, version } from './bundle.ts';

const outdir = join(projectDirectory, 'lib');
rmSync(outdir, { recursive: true, force: true });

const entries = globSync('src/exports/*.ts', { cwd: projectDirectory });
const { metafile } = await build({
  ...bundleOptions,
  entryPoints: Object.fromEntries(
    entries.map((path) => [basename(path, '.ts'), join(projectDirectory, path)]),
  ),
  outdir,
  external: ['msgpackr-extract', '@grpc/*'],
});
copyFileSync(
  join(projectDirectory, 'src/konnectivity-client/konnectivity.proto'),
  join(outdir, 'konnectivity.proto'),
);
writeFileSync(join(outdir, 'LICENSES.txt'), licensesOf(Object.keys(metafile.inputs)));

const { status } = spawnSync('tsc', ['-p', 'tsconfig.library.json'], {
  cwd: projectDirectory,
  stdio: 'inherit',
});
if (status !== 0) throw new Error('the type declarations could not be made');
console.log(`${outdir} ${version}: ${entries.length} entries`);
