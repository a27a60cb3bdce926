import { globSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';

export interface SourceFile {
  /** Relative to the project, with `/`. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly ImportOf[];
}

export interface ImportOf {
  readonly line: number;
  /** As written. */
  readonly specifier: string;
  /** The imported file relative to the project; undefined for a package or a module of Node. */
  readonly path?: string;
}

/** A violation of a rule. */
export interface Finding {
  readonly path: string;
  readonly line?: number;
  readonly message: string;
}

const folders = '{src,test,testkit,bench,demo,scripts}';
// The formatter writes single quotes. A statement that spans lines ends with `from '...'`, too.
const specifierPattern =
  /^(?:import|export)\b[^;'"]*?\bfrom '([^'\n]+)'|^import '([^'\n]+)'|\bimport\(\s*'([^'\n]+)'/gm;

/** Every TypeScript file of the project below `root`, ordered by path. */
export function readSourceFiles(root: string): readonly SourceFile[] {
  return globSync(`${folders}/**/*.ts`, { cwd: root })
    .map((path) => path.replaceAll('\\', '/'))
    .sort()
    .map((path) => sourceFile(path, readFileSync(join(root, path), 'utf8')));
}

export function sourceFile(path: string, text: string): SourceFile {
  const imports = [...text.matchAll(specifierPattern)].map((match) => {
    const specifier = match[1] ?? match[2] ?? match[3] ?? '';
    const line = lineAt(text, match.index + match[0].length);
    const isFile = specifier.startsWith('.');
    return isFile
      ? { line, specifier, path: posix.join(posix.dirname(path), specifier) }
      : { line, specifier };
  });
  return { path, text, imports };
}

export function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

export const isSource = ({ path }: SourceFile): boolean => path.startsWith('src/');
