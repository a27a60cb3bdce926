import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import config, { suites } from '../vitest.config.ts';

interface Project {
  readonly name: string;
  readonly include: readonly string[];
  readonly exclude?: readonly string[];
}

const root = fileURLToPath(new URL('..', import.meta.url));
const projects = (config.test?.projects ?? []).map(
  (project) => (project as { test: Project }).test,
);
const matches = (patterns: readonly string[]) =>
  patterns.flatMap((of) => globSync(of, { cwd: root }));

function filesOf({ include, exclude = [] }: Project): readonly string[] {
  const excluded = new Set(matches(exclude));
  return matches(include).filter((file) => !excluded.has(file));
}

describe('the suites of tests', () => {
  it('contain every test file of the repository exactly once', () => {
    const all = globSync('**/*.{test,spec}.{ts,mts,mjs,js}', {
      cwd: root,
      exclude: (path) => /(^|\/)(node_modules|dist)$/.test(path),
    });
    expect(all.length).toBeGreaterThan(200);
    expect(projects.flatMap(filesOf).sort()).toEqual(all.sort());
  });

  it('contain every project exactly once', () => {
    const names = Object.values(suites).flat();
    expect([...names].sort()).toEqual(projects.map(({ name }) => name).sort());
  });

  it('are both run by .ci/run, once each', () => {
    const commands = readFileSync(`${root}/.ci/run`, 'utf8').match(/^npm [^|]*(?= \|\| status=)/gm);
    expect(commands).toEqual(['npm test', 'npm run test:full', 'npm run check', 'npm run e2e']);
    const { scripts } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as {
      scripts: Record<string, string>;
    };
    expect(scripts['test']).toMatch(/scripts\/test\.ts quick$/);
    expect(scripts['test:full']).toMatch(/scripts\/test\.ts full$/);
  });
});
