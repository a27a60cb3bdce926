import { parse } from 'yaml';

/**
 * Reads one YAML document. An empty text is null. Merge keys and aliases beyond YAML's own limits
 * are refused.
 *
 * @throws Error the text is not YAML, or an object has a key twice
 */
export function parseYaml(text: string): unknown {
  return parse(text, { uniqueKeys: true, maxAliasCount: 0 }) as unknown;
}
