import { isSource, type Finding, type SourceFile } from './source-file.ts';
import { maxSourceLines } from './table.ts';

/** Source files with too many lines. */
export function lengthFindings(files: readonly SourceFile[]): readonly Finding[] {
  return files.filter(isSource).flatMap(({ path, text }) => {
    const lines = text.replace(/\n$/, '').split('\n').length;
    if (lines <= maxSourceLines) return [];
    return [{ path, message: `has ${lines} lines; at most ${maxSourceLines} are allowed` }];
  });
}
