import { join } from 'node:path';
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeName, podName } from '../../testkit/ground/http/managed-api.ts';
import { Kubectl } from '../../testkit/ground/kubernetes/kubectl.ts';
import { cacheBeside } from '../../testkit/ground/kubernetes/kubectl.ts';
import { run } from '../../testkit/ground/kubernetes/run.ts';
import { Plane, domain } from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';

const programs = await planePrograms();
const script = fileURLToPath(new URL('python/client.py', import.meta.url));

describe('A client of the gateway', () => {
  let plane: Plane;
  let token: string;
  let kubeconfig: string;

  beforeAll(async () => {
    plane = await Plane.start(programs, { clusters: ['cluster1'] });
    token = await plane.adminToken('cluster1');
    kubeconfig = await plane.kubeconfig('cluster1', token);
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  const curl = (url: string, ...args: string[]): Promise<string> =>
    run({
      command: 'curl',
      args: ['--silent', '--show-error', '--cacert', plane.caFile, ...args, url],
    });

  it('installs, upgrades and removes a chart with helm', async () => {
    const helm = (...args: string[]): Promise<string> =>
      run({
        command: programs.kubernetes.helm,
        args: ['--kubeconfig', kubeconfig, ...args],
        env: cacheBeside(kubeconfig),
      });
    const chart = await writeChart(join(plane.directory, 'chart'));
    const { server } = plane.api('cluster1');
    const value = async () =>
      (await server.get<{ data: { value: string } }>('configmap', 'from-helm')).data.value;
    expect(await helm('install', 'release', chart, '--wait')).toContain('STATUS: deployed');
    expect(await value()).toBe('one');
    await helm('upgrade', 'release', chart, '--set', 'value=two', '--wait');
    expect(await value()).toBe('two');
    expect(await helm('list')).toContain('release');
    expect(await helm('uninstall', 'release')).toContain('uninstalled');
    await expect(value()).rejects.toThrow(/NotFound/);
  });

  it('uses the Kubernetes client for Python: list, watch, stream and logs', async () => {
    const args = [script, kubeconfig, 'default', podName];
    const line = await run({ command: programs.python, args });
    expect(JSON.parse(line)).toEqual({
      nodes: [nodeName],
      events: ['ADDED', 'MODIFIED', 'DELETED'],
      exec: 'from python\n',
      session: 'got a line\n',
      code: 3,
      log: 'line 0\nline 1\n',
      missing: 'NotFound',
    });
  });

  it.each([
    { flag: '--http1.1', version: '1.1' },
    { flag: '--http2', version: '2' },
  ])('uses curl with HTTP/$version, in both forms of URLs', async ({ flag, version }) => {
    const bearer = ['-H', `Authorization: Bearer ${token}`];
    const format = ['-w', '\n%{http_version} %{http_code}'];
    const path = '/api/v1/nodes?limit=1';
    const byPath = await curl(plane.urlOf('cluster1') + path, flag, ...bearer, ...format);
    expect(byPath).toMatch(/"kind": ?"NodeList"/);
    expect(byPath.endsWith(`\n${version} 200`)).toBe(true);
    const port = new URL(plane.urlOf('cluster1')).port;
    const host = `cluster1.${domain}`;
    const resolve = ['--resolve', `${host}:${port}:127.0.0.1`];
    const url = `https://${host}:${port}${path}`;
    const byHost = await curl(url, flag, ...resolve, ...bearer, ...format);
    expect(byHost.endsWith(`\n${version} 200`)).toBe(true);
    const denied = await curl(plane.urlOf('cluster1') + path, flag, ...format);
    expect(denied).toMatch(/"reason": ?"Unauthorized"/);
    expect(denied.endsWith(`\n${version} 401`)).toBe(true);
  });

  it('uses a kubeconfig in a Secret of the hub, as Flux does', async () => {
    const value = await run({ command: 'cat', args: [kubeconfig] });
    await plane.hub.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'cluster1-kubeconfig', namespace: 'default' },
      stringData: { value },
    });
    const secret = await plane.hub.get<{ data: { value: string } }>(
      'secret',
      'cluster1-kubeconfig',
    );
    const file = join(plane.directory, 'flux.kubeconfig');
    await writeFile(file, Buffer.from(secret.data.value, 'base64'));
    const kubectl = new Kubectl(programs.kubernetes.kubectl, file);
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'flux' } };
    expect(await kubectl.apply(object)).toContain('serverside-applied');
    expect(await kubectl.run(['delete', 'configmap', 'flux'])).toContain('deleted');
  });
});

/** A chart with one ConfigMap. */
async function writeChart(directory: string): Promise<string> {
  await mkdir(join(directory, 'templates'), { recursive: true });
  await writeFile(join(directory, 'Chart.yaml'), 'apiVersion: v2\nname: sample\nversion: 0.1.0\n');
  await writeFile(join(directory, 'values.yaml'), 'value: one\n');
  const lines = [
    ...['apiVersion: v1', 'kind: ConfigMap', 'metadata:', '  name: from-helm'],
    ...['data:', '  value: {{ .Values.value | quote }}', ''],
  ];
  await writeFile(join(directory, 'templates', 'configmap.yaml'), lines.join('\n'));
  return directory;
}
