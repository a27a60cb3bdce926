import { describeError } from '../error.ts';
import type { LogFields } from './log-field.ts';

/**
 * Limits on the length of one line. They are necessary because peers choose much of its text:
 * paths, names, reasons, addresses.
 */
export const logFieldLimits = {
  /** Characters of one text, in the form that JSON writes. */
  maxTextLength: 512,
  /**
   * The same for the stack of an error without a code. Such a stack is made of our own source
   * files.
   */
  maxStackLength: 2048,
  /** Characters of all texts of one `printableFields` call together. Further texts are left out. */
  maxTotalLength: 3072,
  /** Entries of a list or an object. */
  maxEntries: 32,
  maxDepth: 4,
} as const;

// The last word of a field's name decides. `token`, `bearerToken` and `proxy-authorization` hold
// secrets, but `tokenFile` and `monkey` do not.
const secretWords = new Set(['token', 'authorization', 'password', 'secret', 'key', 'cookie']);
const lastWord = (name: string) =>
  name
    .split(/[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])/)
    .at(-1)!
    .toLowerCase();

/** Fields that a log may show: without credentials and cycles, and within `logFieldLimits`. */
export function printableFields(fields: LogFields): Record<string, unknown> {
  return new FieldPrinter().fields(fields, 0);
}

class FieldPrinter {
  #leftLength: number = logFieldLimits.maxTotalLength;

  fields(fields: LogFields, depth: number): Record<string, unknown> {
    const clean: Record<string, unknown> = {};
    const entries = Object.entries(fields);
    for (const [name, value] of entries.slice(0, logFieldLimits.maxEntries)) {
      const shownName = name.length > 64 ? name.slice(0, 64) : name;
      clean[shownName] =
        secretWords.has(lastWord(shownName)) && value !== undefined
          ? '[redacted]'
          : this.#value(value, depth);
    }
    if (entries.length > logFieldLimits.maxEntries) clean['more'] = left(entries.length);
    return clean;
  }

  #value(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return this.#text(value, logFieldLimits.maxTextLength);
    if (typeof value === 'bigint')
      return this.#text(value.toString(), logFieldLimits.maxTextLength);
    if (typeof value !== 'object' || value === null) return value;
    if (value instanceof Error) return this.#error(value);
    // The query and the user information of a URL can hold credentials.
    if (value instanceof URL) {
      const shown = `${value.protocol}//${value.host}${value.pathname}`;
      return this.#text(shown, logFieldLimits.maxTextLength);
    }
    if (depth >= logFieldLimits.maxDepth) return '[deeper]';
    if (Array.isArray(value)) return this.#list(value, depth);
    const own = Object.getPrototypeOf(value) as unknown;
    // A value with a class of its own (Secret, Date) chooses its form with toJSON.
    if (own !== Object.prototype && own !== null) return value;
    return this.fields(value, depth + 1);
  }

  #list(list: readonly unknown[], depth: number): unknown[] {
    const { maxEntries } = logFieldLimits;
    const shown = list.slice(0, maxEntries).map((item) => this.#value(item, depth + 1));
    return list.length > maxEntries ? [...shown, left(list.length)] : shown;
  }

  /**
   * The sentences of the whole chain and the code that callers branch on. An error without a code
   * also shows its stack.
   */
  #error(error: Error): Record<string, unknown> {
    const { code } = error as { code?: unknown };
    const { name, stack = '' } = error;
    const message = this.#text(describeError(error), logFieldLimits.maxTextLength);
    return code === undefined
      ? { name, message, stack: this.#text(stack, logFieldLimits.maxStackLength) }
      : { name, code, message };
  }

  #text(text: string, maxLength: number): string {
    const shown = cut(text, Math.min(maxLength, this.#leftLength));
    this.#leftLength = Math.max(0, this.#leftLength - shown.length);
    return shown;
  }
}

function left(count: number): string {
  return `[${count - logFieldLimits.maxEntries} more]`;
}

// oxlint-disable-next-line no-control-regex -- JSON writes each of them as six characters
const escaped = /[\u0000-\u001f"\\\u007f\ud800-\udfff]/g;

/**
 * Cuts a text so that JSON writes at most about `maxLength` characters for it. The end of the text
 * tells how many characters are missing.
 */
function cut(text: string, maxLength: number): string {
  if (text.length * 6 <= maxLength) return text;
  const head = text.slice(0, maxLength);
  const escapes = head.match(escaped)?.length ?? 0;
  const keptLength =
    escapes === 0 ? maxLength : Math.floor(maxLength / (1 + (5 * escapes) / head.length));
  if (text.length <= keptLength) return text;
  return `${text.slice(0, keptLength)}[+${text.length - keptLength} characters]`;
}
