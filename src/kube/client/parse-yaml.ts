import { parse } from 'yaml';

/**
 * Reads a YAML 1.2 or JSON text. A key that occurs twice in a map is an error.
 *
 * @throws Error the text is no YAML. The message quotes the text, which may hold a key.
 */
export function parseYaml(text: string): unknown {
  // Editors on Windows put a byte order mark before the text.
  return parse(text.replace(/^\uFEFF/, ''));
}
