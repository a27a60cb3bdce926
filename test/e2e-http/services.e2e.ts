import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { run } from '../../testkit/ground/kubernetes/run.ts';
import { waitFor } from '../../testkit/ground/kubernetes/wait.ts';
import { NetworkNamespace } from '../../testkit/network/network-namespace.ts';
import { startProgram, type Program } from '../../testkit/processes/process.ts';
import { node } from '../../testkit/world/world.ts';
import { clusterNames, Plane, type ClusterName } from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';
import { Prometheus } from './support/prometheus.ts';

const programs = await planePrograms();
const script = fileURLToPath(new URL('support/recording-service.ts', import.meta.url));

interface Recorded {
  readonly method: string;
  readonly url: string;
  readonly rawHeaders: readonly string[];
}

describe('Services of two clusters by path', () => {
  let stack: AsyncDisposableStack;
  let plane: Plane;
  let tokenFile: string;
  let token: string;
  const services = new Map<ClusterName, Program>();

  beforeAll(async () => {
    await using starting = new AsyncDisposableStack();
    const hosts: Record<string, Record<string, string>> = {};
    const ports = new Map<ClusterName, number>();
    for (const cluster of clusterNames) {
      // An agent refuses Services at loopback addresses.
      const namespace = starting.use(await NetworkNamespace.create());
      hosts[cluster] = { 'metrics.default.svc': namespace.address };
      const args = [script, namespace.address, cluster];
      const program = starting.use(
        startProgram(namespace.inside({ command: node, args, name: 'recording service' })),
      );
      ports.set(cluster, Number((await program.waitForLine(/"port":(\d+)/))[1]));
      services.set(cluster, program);
    }
    plane = starting.use(
      await Plane.start(programs, {
        hosts,
        exposedServices: [{ namespace: 'default', service: 'metrics' }],
      }),
    );
    for (const [cluster, port] of ports) {
      await plane.api(cluster).server.apply({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'metrics', namespace: 'default' },
        spec: { ports: [{ name: 'web', port }] },
      });
    }
    token = await plane.hub.token('default', 'default').catch(async () => {
      await plane.hub.kubectl(['create', 'serviceaccount', 'default']);
      return plane.hub.token('default', 'default');
    });
    tokenFile = join(plane.directory, 'token');
    await writeFile(tokenFile, await plane.adminToken('cluster1'));
    stack = starting.move();
  });
  afterAll(() => stack?.disposeAsync());

  const path = (cluster: string, rest: string, port = 'web') =>
    `/${cluster}/api/v1/namespaces/default/services/http:metrics:${port}/proxy-service${rest}`;
  const curl = async (target: string, ...args: string[]): Promise<string> => {
    const flags = ['--silent', '--show-error', '--path-as-is', '--cacert', plane.caFile];
    return run({
      command: 'curl',
      args: [...flags, ...args, `https://${plane.gatewayAddress}${target}`],
    });
  };
  const recorded = (cluster: ClusterName): Recorded[] =>
    services
      .get(cluster)!
      .stdout.split('\n')
      .filter((line) => line.includes('"method"'))
      .map((line) => JSON.parse(line) as Recorded);

  it('answers by the name of a port, and passes the path on as it is', async () => {
    const output = await curl(path('cluster2', '/a%2Fb//c?q=%20'), '-w', ' %{http_code}');
    expect(output).toBe('# TYPE sample gauge\nsample{of="cluster2"} 1\n 200');
    expect(recorded('cluster2').at(-1)).toMatchObject({ method: 'GET', url: '/a%2Fb//c?q=%20' });
  });

  it('does not tell a Service the token of a hub user', async () => {
    const bearer = ['-H', `Authorization: Bearer ${token}`];
    const status = await curl(
      path('cluster1', '/token'),
      ...bearer,
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
    );
    const headers = recorded('cluster1')
      .filter(({ url }) => url === '/token')
      .flatMap(({ rawHeaders }) => rawHeaders);
    expect(headers.join('\n')).not.toContain(token);
    expect(['200', '403']).toContain(status);
  });

  it('refuses a Service that is not exposed, in every spelling of its path', async () => {
    const refused = '/cluster1/api/v1/namespaces/default/services/http:other:80/proxy-service/';
    const spellings = [
      refused,
      refused.replace('default', 'kube-system'),
      refused.replace('/other', '/%6fther'),
      path('cluster1', '/').replace('/services/', '/services/../services/') +
        '../../http:other:80/',
      path('cluster1', '/').replace('http:metrics', 'http:metrics%2f..%2fother'),
      path('cluster1', '/').replace('metrics', 'METRICS'),
    ];
    for (const spelling of spellings) {
      const status = await curl(spelling, '-o', '/dev/null', '-w', '%{http_code}');
      expect.soft({ spelling, status: Number(status) >= 400 }).toEqual({ spelling, status: true });
    }
  });

  it('is scraped by Prometheus', async () => {
    const jobs = clusterNames.map((cluster) => ({
      job_name: cluster,
      scheme: 'https',
      metrics_path: path(cluster, '/metrics'),
      tls_config: { ca_file: plane.caFile },
      static_configs: [{ targets: [plane.gatewayAddress] }],
    }));
    const { prometheus: program } = programs.http;
    await using prometheus = await Prometheus.start(program, plane.directory, jobs);
    const sampled = async (): Promise<string[] | undefined> => {
      const labels = await prometheus.labels('sample');
      const found = labels.map(({ job, of }) => `${job} ${of}`).sort();
      return found.length < clusterNames.length ? undefined : found;
    };
    const found = await waitFor(sampled, { what: 'samples of both clusters', timeoutMs: 60_000 });
    expect(found).toEqual(['cluster1 cluster1', 'cluster2 cluster2']);
  });
});
