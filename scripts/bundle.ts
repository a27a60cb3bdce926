import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BuildOptions, Plugin } from 'esbuild';

export const projectDirectory = fileURLToPath(new URL('..', import.meta.url));
export const { version } = JSON.parse(
  readFileSync(join(projectDirectory, 'package.json'), 'utf8'),
) as { version: string };

/** Inserts the version into bundles, because they have no package.json beside them. */
const fixedVersion: Plugin = {
  name: 'fixed version',
  setup(build) {
    build.onLoad({ filter: /[\\/]src[\\/]base[\\/]version\.ts$/ }, () => ({
      contents: `export const version = ${JSON.stringify(version)};`,
      loader: 'js',
    }));
  },
};

/** Bundles programs and libraries as modules for Node, with shared code in separate files. */
export const bundleOptions = {
  absWorkingDir: projectDirectory,
  outExtension: { '.js': '.mjs' },
  chunkNames: 'parts/[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  legalComments: 'none',
  // Packages in CommonJS call require() for the modules of Node.
  banner: {
    js: "import { createRequire as culvertRequire } from 'node:module'; const require = culvertRequire(import.meta.url);",
  },
  metafile: true,
  plugins: [fixedVersion],
  logLevel: 'warning',
} satisfies BuildOptions;

/** The licences of the packages of `inputs`. A bundle must be distributed with them. */
export function licensesOf(inputs: readonly string[]): string {
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
