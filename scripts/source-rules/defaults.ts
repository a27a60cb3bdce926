import { isSource, lineAt, type Finding, type SourceFile } from './source-file.ts';

/** A place in the code that gives a name a default value. */
interface DefaultValue {
  readonly name: string;
  readonly path: string;
  readonly line: number;
}

const literal = String.raw`(?:'[^'\n]+'|:?[\d][\d_]*(?: \* [\d_]+)*)`;
const patterns = {
  /** `drainTimeoutMs: {` of an option table, with its `default:` before the row's end. */
  row: /^ {2,4}(\w+): \{\n(?:(?! {2,4}\},?\n).*\n)*? {4,6}default: '/gm,
  /** `const defaultDrainTimeoutMs = 30_000`. */
  constant: new RegExp(String.raw`\bconst (default[A-Z]\w*) = ${literal}`, 'g'),
  /** `options.drainTimeoutMs ?? 30_000`. */
  fallback: new RegExp(String.raw`\b(\w+) \?\? ${literal}`, 'g'),
  /** `{ drainTimeoutMs = 30_000 }`: names that destructuring or a parameter gives a value. */
  binding: new RegExp(String.raw`[{(,]\s*(?:\w+: )?(\w+)(?:: number)? = ${literal}(?=[,) ])`, 'g'),
} as const;

/** Usual values of an absent number or text. They are not defaults of options. */
const neutral = /(?:\?\?|=) (?:0|1)\b(?!_)(?! \*)/;

/**
 * Options whose default the table gives, and that another place gives again. Two such places must
 * change together, and sooner or later one is forgotten.
 */
export function defaultFindings(files: readonly SourceFile[]): readonly Finding[] {
  const sources = files.filter(isSource);
  const rows = defaultsIn(sources, patterns.row);
  const others = [patterns.constant, patterns.fallback, patterns.binding].flatMap((pattern) =>
    defaultsIn(sources, pattern),
  );
  return others.flatMap(({ name, path, line }) => {
    const row = rows.find((option) => isSame(option.name, name));
    if (row === undefined) return [];
    const message = `gives a default for the option that ${row.path}:${row.line} gives a default for`;
    return [{ path, line, message }];
  });
}

function defaultsIn(files: readonly SourceFile[], pattern: RegExp): readonly DefaultValue[] {
  return files.flatMap(({ path, text }) =>
    [...text.matchAll(pattern)]
      .filter(([match]) => !neutral.test(match))
      .map((match) => ({
        name: match[1]!,
        path,
        line: lineAt(text, match.index),
      })),
  );
}

/** True for `drainTimeoutMs` and `defaultDrainMs`, and for `redisKeyPrefix` and `keyPrefix`. */
function isSame(option: string, name: string): boolean {
  if (/^default[A-Z]/.test(name)) return plainName(option) === plainName(name);
  const isSuffix = option.toLowerCase().endsWith(name.toLowerCase()) && /[a-z][A-Z]/.test(name);
  return option === name || (isSuffix && name !== 'timeoutMs');
}

/** `defaultDrainMs` and `drainTimeoutMs` become `drain`. */
function plainName(name: string): string {
  const words = name.replace(/^default(?=[A-Z])/, '').split(/(?=[A-Z])/);
  const plain = words.map((word) => word.toLowerCase());
  return plain.filter((word) => !['ms', 'bytes', 'timeout'].includes(word)).join('-');
}
