// node scripts/check-versions.ts: package.json names the one version of the npm package, the image
// and the charts. Every other place must agree with it.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const { version } = JSON.parse(read('package.json')) as { version: string };

/** Where else the version is written: the first group of the pattern is the version. */
const places: readonly { readonly files: string; readonly pattern: RegExp }[] = [
  // The first two: of the lock file itself and of the root package in it.
  { files: 'package-lock.json', pattern: /^ {2}"version": "(.*)"/gm },
  { files: 'package-lock.json', pattern: /"": \{\s*"name": "culvert",\s*"version": "(.*)"/g },
  { files: 'charts/*/Chart.yaml', pattern: /^(?:version|appVersion): (.*)$/gm },
  { files: '{README.md,docs/*.md,charts/*/README.md}', pattern: /\bculvert:v(\d+\.\d+\.\d+)/g },
];

const problems: string[] = [];
let count = 0;
for (const { files, pattern } of places) {
  let found = 0;
  for (const file of globSync(files, { cwd: root })) {
    for (const [, stated] of read(file).matchAll(pattern)) {
      found++;
      if (stated !== version) problems.push(`${file} says ${stated}, package.json ${version}`);
    }
  }
  if (found === 0) problems.push(`no version like ${pattern} in ${files}: mend this script`);
  count += found;
}
for (const problem of problems) console.error(problem);
console.log(`version ${version}, in ${count} other places`);
if (problems.length > 0) process.exitCode = 1;
