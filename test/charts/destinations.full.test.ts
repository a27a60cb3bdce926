import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { problemOf } from '../../src/base/options/read-options.ts';
import { agentPassthroughTable } from '../../src/base/options/passthrough-options.ts';
import { type ChartName, chartDirectory } from '../../testkit/kube/helm.ts';

interface Schema {
  readonly definitions: { readonly destinations: { readonly items: { readonly pattern: string } } };
}

describe.each<ChartName>(['cluster-proxy', 'agent'])(
  'The values schema of the chart %s',
  (chart) => {
    it.each([
      ...['db.x.svc:5432', '*.svc:443', 'db:*', '*:1', 'x:0', 'x:65535', 'x:065535', 'x:00001'],
      ...['10.0.0.0/8:443', '0.0.0.0/0:*', '10.0.0.0/32:1', '[fd00::]/8:*', '[fd00::/8]:1'],
      ...['[::1]:443', '[fd00::]/128:1', '10.0.0.1:22', 'under_score:1'],
      ...['junk', 'x:99999', 'x:65536', 'x:http', 'x:-1', 'a:b:1', ':80', '*x:1', 'a*b:1', '*.*:1'],
      ...['10.0.0.0/33:1', '10.0.0.0/:1', '10.0.0.300/8:1', '10.0.0/8:1', 'name/8:1', 'a b:1'],
      ...['[fd00::]/129:1', '[fd00::]/:1', '[]:1', ''],
    ])(
      'The values schema accepts the destination %j if and only if agents accept it',
      async (pattern) => {
        const file = join(chartDirectory(chart), 'values.schema.json');
        const schema = JSON.parse(await readFile(file, 'utf8')) as Schema;
        const isTaken = new RegExp(schema.definitions.destinations.items.pattern, 'u').test(
          pattern,
        );
        expect(isTaken).toBe(problemOf(agentPassthroughTable.allow, pattern) === undefined);
      },
    );
  },
);
