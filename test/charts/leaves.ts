import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { chartDirectory, type ChartName, type Values } from '../../testkit/kube/helm.ts';

/** The names of all values of a chart. Objects that are empty by default count as one value. */
export function valueNames(chart: ChartName): readonly string[] {
  const text = readFileSync(join(chartDirectory(chart), 'values.yaml'), 'utf8');
  return namesIn(parse(text) as Values, '');
}

function namesIn(values: Values, prefix: string): readonly string[] {
  return Object.entries(values).flatMap(([key, value]) => {
    const isBranch = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isBranch || Object.keys(value).length === 0) return [`${prefix}${key}`];
    return namesIn(value as Values, `${prefix}${key}.`);
  });
}

/** `{ redis: { external: { url } } }` of `redis.external.url` and a value. */
export function valuesOf(name: string, value: unknown): Values {
  const keys = name.split('.');
  return keys.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Values;
}

/** Two values files, the second on top. */
export function merged(base: Values, top: Values): Values {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(top)) {
    const below = result[key];
    result[key] = isPlain(below) && isPlain(value) ? merged(below, value) : value;
  }
  return result;
}

const isPlain = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
