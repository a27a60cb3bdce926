// npm run build [-- DIRECTORY]: the programs as files that need nothing but Node, in dist/ or DIRECTORY. Parts that only some
// programs need are files of their own, so that an agent does not load what only a broker needs.
import { chmodSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

const projectDirectory = fileURLToPath(new URL('..', import.meta.url));
const outdir = resolve(process.argv[2] ?? join(projectDirectory, 'dist'));
const { version } = JSON.parse(readFileSync(join(projectDirectory, 'package.json'), 'utf8')) as {
  version: string;
};

/** In a checkout the version is read from package.json, which no bundle has beside it. */
const fixedVersion: Plugin = {
  name: 'fixed version',
  setup(build) {
    build.onLoad({ filter: /[\\/]src[\\/]base[\\/]version\.ts$/ }, () => ({
      contents: `export const version = ${JSON.stringify(version)};`,
      loader: 'js',
    }));
  },
};

// A directory of the caller's choice may hold other things; dist/ is ours.
if (process.argv[2] === undefined) rmSync(outdir, { recursive: true, force: true });
const { metafile } = await build({
  absWorkingDir: projectDirectory,
  entryPoints: { culvert: join(projectDirectory, 'src/cli/main.ts') },
  outdir,
  outExtension: { '.js': '.mjs' },
  chunkNames: 'parts/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  // Names stay, for stack traces and profiles.
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  // msgpackr's native half: it works without, and the bundle stays the same on every architecture.
  external: ['msgpackr-extract'],
  // Packages in CommonJS call require() for the modules of Node.
  banner: {
    js: "import { createRequire as culvertRequire } from 'node:module'; const require = culvertRequire(import.meta.url);",
  },
  metafile: true,
  plugins: [fixedVersion],
  logLevel: 'warning',
});
chmodSync(join(outdir, 'culvert.mjs'), 0o755);

writeFileSync(join(outdir, 'LICENSES.txt'), licensesOf(Object.keys(metafile.inputs)));

const files = Object.keys(metafile.outputs).filter((file) => file.endsWith('.mjs'));
const bytes = files.reduce((sum, file) => sum + statSync(join(projectDirectory, file)).size, 0);
console.log(
  `${join(outdir, 'culvert.mjs')} ${version}: ${files.length} files, ${(bytes / 1024).toFixed(0)} KiB`,
);

/** The licences of the packages that `inputs` are files of: what may be passed on only with them. */
function licensesOf(inputs: readonly string[]): string {
  const packages = new Set(
    inputs.flatMap((input) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? []),
  );
  return [...packages]
    .sort()
    .map((path) => {
      const directory = join(projectDirectory, path);
      const file = readdirSync(directory).find((name) => /^licen[cs]e/i.test(name));
      const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as {
        readonly name: string;
        readonly version: string;
        readonly license?: string;
      };
      const text =
        file === undefined ? manifest.license : readFileSync(join(directory, file), 'utf8');
      return `${manifest.name} ${manifest.version}\n\n${text ?? 'no licence named'}\n`;
    })
    .join('\n----\n\n');
}
