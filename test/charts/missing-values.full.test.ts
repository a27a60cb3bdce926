import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import {
  startApiServer,
  type RunningApiServer,
} from '../../testkit/ground/kubernetes/api-server.ts';
import { apiServerPrograms, findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { earlierDefinition, earlierValues, writeEarlierChart } from './earlier-chart.ts';
import {
  chartDirectory,
  findHelm,
  Helm,
  type ChartName,
  type Values,
} from '../../testkit/kube/helm.ts';
import { merged, valuesOf } from './leaves.ts';

const helm = await findHelm();
const programs = await findPrograms(apiServerPrograms);

/** What a chart cannot do without, and what would be random otherwise. */
const given: Readonly<Record<ChartName, Values>> = {
  'cluster-proxy': { redis: { password: 'given0123456789a' }, networkPolicies: { enabled: true } },
  agent: { clusterName: 'c1', brokerUrl: 'wss://b', token: { secretName: 's' } },
};
const charts = ['cluster-proxy', 'agent'] as const;

async function defaultsOf(chart: ChartName): Promise<Values> {
  return parse(await readFile(join(chartDirectory(chart), 'values.yaml'), 'utf8')) as Values;
}

/** Every value and every group of values, `redis.external` and `redis.external.url`, but those in `except`. */
function namesOf(values: Values, except: Values, prefix = ''): readonly string[] {
  return Object.entries(values).flatMap(([key, value]) => {
    const kept = except[key];
    if (kept !== undefined && !isMap(kept)) return [];
    const inner = isMap(value) ? namesOf(value, isMap(kept) ? kept : {}, `${prefix}${key}.`) : [];
    return isMap(kept) ? inner : [`${prefix}${key}`, ...inner];
  });
}

const isMap = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

describeWith({ helm }, 'Missing values of a chart', ({ helm }) => {
  it.each(charts)(
    'The chart %s fills in missing values as in values.yaml, except for resources',
    async (chart) => {
      const text = await readFile(
        join(chartDirectory(chart), 'templates', '_defaults.tpl'),
        'utf8',
      );
      const filledIn = parse(text.replaceAll(/\{\{-?[\s\S]*?\}\}/g, '')) as Values;
      const { resources: _, redis, ...others } = await defaultsOf(chart);
      const { resources: _redis, ...ofRedis } = (redis ?? {}) as Values;
      expect(filledIn).toEqual(redis === undefined ? others : { ...others, redis: ofRedis });
    },
  );

  it.each(charts)(
    'The chart %s renders the same after each value is set to null, one after the other',
    async (chart) => {
      const before = await helm.template(chart, given[chart]);
      const names = namesOf(await defaultsOf(chart), given[chart]);
      expect(names.length).toBeGreaterThan(30);
      const changed: string[] = [];
      for (const name of names) {
        const values = merged(given[chart], valuesOf(name, null));
        const after = await helm.template(chart, values).catch(String);
        // A user who removes resources wants none.
        const isWanted = /(^|\.)resources(\.|$)/.test(name) && Array.isArray(after);
        if (!isWanted && !isDeepStrictEqual(after, before))
          changed.push(`${name}: ${JSON.stringify(after).slice(0, 500)}`);
      }
      expect(changed).toEqual([]);
    },
    240_000,
  );

  it.each([
    ['cluster-proxy', { resources: { limits: null } }, 'limits'],
    ['agent', { resources: { requests: null } }, 'requests'],
  ] as const)(
    'The chart %s leaves out resources that are set to null: %j',
    async (chart, values, word) => {
      const [deployment] = (await helm.template(chart, merged(given[chart], values))).filter(
        ({ kind }) => kind === 'Deployment',
      );
      const { template } = deployment!['spec'] as {
        template: { spec: { containers: { resources: object }[] } };
      };
      expect(template.spec.containers[0]!.resources).not.toHaveProperty(word);
    },
  );
});

describeWith({ programs }, 'helm upgrade --reuse-values', ({ programs }) => {
  const helm = new Helm(programs.helm);
  const ns = 'hub-ns';
  const temporary: string[] = [];
  let server: RunningApiServer;
  const onHub = (args: readonly string[], values: Values = {}) =>
    helm.run([...args, '--namespace', ns], values, { kubeconfig: server.kubeconfigFile });

  beforeAll(async () => {
    server = await startApiServer(programs, { ocm: ['hub-crds'] });
    await server.kubectl(['create', 'namespace', ns]);
    await server.apply(await earlierDefinition());
    await server.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
  }, 60_000);
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    for (const directory of temporary) await rm(directory, { recursive: true });
  });

  it.each([
    ['no values', {}],
    ['the values of 0.10', earlierValues],
  ])(
    'A helm upgrade --reuse-values of Cluster Proxy with %s gives the same as an upgrade without it',
    async (_, earlierDefaults) => {
      const earlier = await writeEarlierChart(ns, earlierDefaults);
      temporary.push(earlier);
      const values = { proxyServer: { port: 443 } };
      await onHub(['install', 'cluster-proxy', earlier], values);
      const chart = chartDirectory('cluster-proxy');
      await onHub(['upgrade', 'cluster-proxy', chart, '--reuse-values']);
      const reused = await manifestOf('cluster-proxy');
      await onHub(['upgrade', 'cluster-proxy', chart, '--reset-values'], values);
      expect(withoutResources(reused)).toEqual(withoutResources(await manifestOf('cluster-proxy')));
      expect(reused).toContain('port: 443');
      await onHub(['uninstall', 'cluster-proxy']);
    },
  );

  it('A helm upgrade --reuse-values of an older agent release installs the defaults of the new chart', async () => {
    const earlier = await mkdtemp(join(tmpdir(), 'culvert-earlier-agent-'));
    temporary.push(earlier);
    const meta = { apiVersion: 'v2', name: 'culvert-agent', version: '0.1.0' };
    await writeFile(join(earlier, 'Chart.yaml'), JSON.stringify(meta));
    const chart = chartDirectory('agent');
    await onHub(['install', 'agent', earlier], given.agent);
    await onHub(['upgrade', 'agent', chart, '--reuse-values']);
    const reused = await manifestOf('agent');
    await onHub(['upgrade', 'agent', chart, '--reset-values'], given.agent);
    expect(withoutResources(reused)).toEqual(withoutResources(await manifestOf('agent')));
  });

  const manifestOf = (release: string) => onHub(['get', 'manifest', release]);
  /** Removes resources from a manifest, because the earlier chart had none and none stay. */
  const withoutResources = (manifest: string) =>
    manifest.replaceAll(/^ +resources:\n( +(requests|limits):\n( +(cpu|memory): .*\n)+)+/gm, '');
});
