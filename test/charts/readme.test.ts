import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import { chartDirectory } from '../../testkit/kube/helm.ts';
import { valueNames } from './leaves.ts';

describe.each(['cluster-proxy', 'agent'] as const)('The README of the chart %s', (chart) => {
  const read = (name: string) => readFileSync(join(chartDirectory(chart), name), 'utf8');
  const rows = Array.from(
    read('README.md').matchAll(/^\| `([^`]+)` +\| `([^`]+)` +\|(.*)\|$/gm),
    ([, name = '', value = '', effect = '']) => ({ name, value, effect: effect.trim() }),
  );
  const defaults: unknown = parse(read('values.yaml'));
  const defaultOf = (name: string) =>
    name
      .split('.')
      .reduce<unknown>(
        (inner, key) => (inner as Record<string, unknown> | undefined)?.[key],
        defaults,
      );

  it('The README describes every value of values.yaml once, and no other value', () => {
    const branches = new Set(rows.map(({ name }) => name));
    const inTable = (name: string) => {
      // `requests` and `limits` are one row each.
      const [shorter] = [...branches].filter((row) => name.startsWith(`${row}.`));
      return shorter ?? name;
    };
    const wanted = [...new Set(valueNames(chart).map(inTable))];
    expect(rows.map(({ name }) => name).toSorted()).toEqual(wanted.toSorted());
    expect(rows.filter(({ effect }) => effect === '')).toEqual([]);
  });

  it('The README has the defaults of values.yaml', () => {
    const wrong = rows.filter(
      ({ name, value }) => !isDeepStrictEqual(parse(value), defaultOf(name)),
    );
    expect(wrong).toEqual([]);
  });
});
