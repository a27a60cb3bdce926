// node scripts/build.ts [DIRECTORY]: the programs as files that need only Node, in dist/ or
// DIRECTORY. Parts that only some programs need are files of their own, so that an agent does not
// load code that only a broker uses.
import { chmodSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';
import { bundleOptions, licensesOf, projectDirectory, version } from './bundle.ts';

const outdir = resolve(process.argv[2] ?? join(projectDirectory, 'dist'));
// dist/ is ours and is cleared. Another directory may hold other files.
if (process.argv[2] === undefined) rmSync(outdir, { recursive: true, force: true });
const { metafile } = await build({
  ...bundleOptions,
  entryPoints: { culvert: join(projectDirectory, 'src/cli/main.ts') },
  outdir,
  // Names are kept for stack traces and profiles.
  minifySyntax: true,
  minifyWhitespace: true,
  // msgpackr works without its native part, and the bundle is the same on every architecture.
  external: ['msgpackr-extract'],
});
chmodSync(join(outdir, 'culvert.mjs'), 0o755);

writeFileSync(join(outdir, 'LICENSES.txt'), licensesOf(Object.keys(metafile.inputs)));

const files = Object.keys(metafile.outputs).filter((file) => file.endsWith('.mjs'));
const bytes = files.reduce((sum, file) => sum + statSync(join(projectDirectory, file)).size, 0);
console.log(
  `${join(outdir, 'culvert.mjs')} ${version}: ${files.length} files, ${(bytes / 1024).toFixed(0)} KiB`,
);
