import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClusterPki } from '../../../testkit/ground/kubernetes/cluster-pki.ts';
import {
  addManagedCluster,
  connectGround,
  removeCluster,
  type Ground,
  type GroundCluster,
} from '../../../testkit/ground/kubernetes/ground.ts';
import { ownImage } from '../../../testkit/ground/kubernetes/images.ts';
import { hasCondition } from '../../../testkit/ground/kubernetes/ocm.ts';
import { egressProxyUrl, entrypoints } from '../../../testkit/ground/kubernetes/topology.ts';
import { waitFor } from '../../../testkit/ground/kubernetes/wait.ts';

const namespace = 'ground-test';
const labels = { app: 'target' };
const timeoutMs = 60_000;

const serve = `
  require('http').createServer((_, response) => response.end('hello from ' + process.env.CLUSTER)).listen(8080);
  process.on('SIGTERM', () => process.exit());`;

/** A pod that answers over HTTP, and a Service of that type before it. */
function target(cluster: string, type: 'ClusterIP' | 'LoadBalancer'): object[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'target', namespace, labels },
      spec: {
        containers: [
          {
            name: 'target',
            image: ownImage,
            imagePullPolicy: 'Never',
            command: ['/usr/local/bin/node', '-e', serve],
            env: [{ name: 'CLUSTER', value: cluster }],
            readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
          },
        ],
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'target', namespace },
      spec: { type, selector: labels, ports: [{ name: 'http', port: 443, targetPort: 8080 }] },
    },
  ];
}

function ingressOf(host: string): object {
  const service = { name: 'target', port: { name: 'http' } };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name: 'target', namespace },
    spec: {
      tls: [{ hosts: [host], secretName: 'ingress' }],
      rules: [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend: { service } }] } }],
    },
  };
}

/** The response of a URL to a pod: its text, or the reason of a failure. */
async function fetchFromPod(cluster: GroundCluster, url: string): Promise<string> {
  const script = `fetch(process.argv[1], { signal: AbortSignal.timeout(3000) })
    .then((response) => response.text(), (error) => 'no answer: ' + (error.cause?.code ?? error))
    .then(console.log)`;
  const node = ['/usr/local/bin/node', '-e', script, url];
  return (await cluster.kubectl(['-n', namespace, 'exec', 'target', '--', ...node])).trim();
}

/** The status that curl on the node gets from a URL, or 000 without a response. */
async function curlFromNode(
  cluster: GroundCluster,
  url: string,
  ...args: string[]
): Promise<string> {
  const quiet = ['--silent', '--insecure', '--max-time', '3', '--output', '/dev/null'];
  const script = 'curl "$@" || true';
  const status = ['--write-out', '%{http_code}'];
  return cluster.run('bash', ['-c', script, 'curl', ...quiet, ...status, ...args, url]);
}

describe('the test clusters', () => {
  let ground: Ground;
  let direct: GroundCluster;
  let proxied: GroundCluster;

  beforeAll(async () => {
    ground = await connectGround();
    [direct, proxied] = ground.managed as [GroundCluster, GroundCluster];
    await Promise.all(
      [ground.hub, direct, proxied].map(async (cluster) => {
        const type = cluster === ground.hub ? 'LoadBalancer' : 'ClusterIP';
        await cluster.apply(target(cluster.name, type));
        const ready = ['wait', '--for=condition=Ready', 'pod/target', '--timeout=60s'];
        await cluster.kubectl(['-n', namespace, ...ready]);
      }),
    );
  }, 2 * timeoutMs);

  afterAll(async () => {
    const remove = ['delete', 'namespace', namespace, '--ignore-not-found'];
    await Promise.all([ground.hub, direct, proxied].map((cluster) => cluster.kubectl(remove)));
  }, timeoutMs);

  it('The test clusters are a hub and two managed clusters, joined and Available', async () => {
    expect(ground.managed.map(({ name }) => name)).toEqual(['cluster1', '2nd-cluster']);
    const available = ground.managed.map(({ name }) =>
      hasCondition(ground.hub, name, 'ManagedClusterConditionAvailable'),
    );
    expect(await Promise.all(available)).toEqual([true, true]);
  });

  it('The test clusters run pods that find Services by name', async () => {
    const answer = await fetchFromPod(direct, `http://target.${namespace}.svc.cluster.local:443/`);
    expect(answer).toBe('hello from cluster1');
  });

  it('The test clusters reach pods through the API server', async () => {
    const path = `/api/v1/namespaces/${namespace}/services/http:target:http/proxy/`;
    expect(await proxied.kubectl(['get', '--raw', path])).toBe('hello from 2nd-cluster');
  });

  it('A LoadBalancer gets the address that the hub shows, and cluster1 reaches it by name', async () => {
    const ip = await waitFor(
      async () => {
        const service = await ground.hub.get<{
          status: { loadBalancer: { ingress?: readonly { ip: string }[] } };
        }>('-n', namespace, 'service', 'target');
        return service.status.loadBalancer.ingress?.[0]?.ip;
      },
      { what: 'load balancer address', timeoutMs: 10_000 },
    );
    expect(ip).toBe(entrypoints.loadBalancer.address);
    const url = `http://${entrypoints.loadBalancer.name}:443/`;
    await expect.poll(() => fetchFromPod(direct, url), { timeout: 10_000 }).toBe('hello from hub');
  });

  it('The test clusters serve an Ingress with its certificate', async () => {
    const { name, address } = entrypoints.ingress;
    const directory = await mkdtemp(join(tmpdir(), 'culvert-ingress-'));
    const pki = await ClusterPki.create(directory, 'ingress-ca');
    const { cert, key } = await pki.issue({ name: 'ingress', user: name, dnsNames: [name] });
    const tls = ['create', 'secret', 'tls', 'ingress', `--cert=${cert}`, `--key=${key}`];
    await ground.hub.kubectl(['-n', namespace, ...tls]);
    await ground.hub.apply(ingressOf(name));
    const args = ['--cacert', pki.ca.cert, '--resolve', `${name}:443:${address}`];
    const script = 'curl --silent --max-time 3 "$@" || true';
    await expect
      .poll(() => direct.run('bash', ['-c', script, 'curl', ...args, `https://${name}/`]), {
        timeout: 20_000,
      })
      .toBe('hello from hub');
    await rm(directory, { recursive: true });
  });

  it('The firewall lets cluster1 out to TCP 443 of the hub and to nothing else', async () => {
    const { address: hub } = ground.hub;
    expect(await curlFromNode(direct, `https://${entrypoints.api.address}/version`)).toBe('200');
    expect(await curlFromNode(direct, `https://${entrypoints.api.name}/version`)).toBe('200');
    const closed = [
      `https://${hub}:6443/version`,
      `https://${entrypoints.api.address}:6443/version`,
      `https://${hub}:443/`,
      `https://${proxied.address}:6443/version`,
      'http://192.168.77.1:3128/',
    ];
    for (const url of closed) {
      expect(await curlFromNode(direct, url), `node to ${url}`).toBe('000');
      expect(await fetchFromPod(direct, url), `pod to ${url}`).toContain('no answer');
    }
  });

  it('The firewall lets 2nd-cluster out only through the proxy, and only with its password', async () => {
    const api = `https://${entrypoints.api.address}/version`;
    expect(await curlFromNode(proxied, api)).toBe('000');
    expect(await fetchFromPod(proxied, api)).toContain('no answer');
    expect(await curlFromNode(proxied, api, '--proxy', egressProxyUrl)).toBe('200');
    const byName = `https://${entrypoints.api.name}/version`;
    expect(await curlFromNode(proxied, byName, '--proxy', egressProxyUrl)).toBe('200');
    const nameless = egressProxyUrl.replace(/\/\/.*@/, '//');
    expect(await curlFromNode(proxied, api, '--proxy', nameless)).toBe('000');
  });

  it('The firewall lets no connection into a managed cluster', async () => {
    const urls = [direct, proxied].flatMap(({ address }) =>
      [6443, 10_250].map((port) => `https://${address}:${port}/`),
    );
    const answers = urls.map((url) => curlFromNode(ground.hub, url));
    expect(await Promise.all(answers)).toEqual(urls.map(() => '000'));
    // Those ports do answer, to the node itself.
    expect(await curlFromNode(direct, `https://${direct.address}:6443/version`)).toBe('200');
    expect(await curlFromNode(direct, `https://${direct.address}:10250/`)).toBe('404');
  });

  it(
    'The hub keeps its objects when its API server is killed and started again',
    async () => {
      await ground.hub.kill('kube-apiserver');
      await expect(ground.hub.get('namespaces')).rejects.toThrow('refused');
      await ground.hub.startAgain('kube-apiserver');
      await waitFor(() => ground.hub.get('namespace', namespace), { what: 'hub', timeoutMs });
    },
    timeoutMs,
  );

  it(
    'A node can be disconnected from the network and connected again',
    async () => {
      const api = `https://${entrypoints.api.address}/version`;
      await direct.setConnected(false);
      expect(await curlFromNode(direct, api)).toBe('000');
      await direct.setConnected(true);
      await expect.poll(() => curlFromNode(direct, api), { timeout: 20_000 }).toBe('200');
    },
    timeoutMs,
  );

  it(
    'A third managed cluster can be added and removed',
    async () => {
      const lines: string[] = [];
      const plan = { name: 'cluster3', index: 4, egress: 'direct' } as const;
      const third = await addManagedCluster(plan, (line) => lines.push(line));
      expect(lines.at(-1)).toBe('cluster3 is joined and Available');
      expect(await third.kubectl(['get', 'nodes', '--output=name'])).toBe('node/cluster3\n');
      await removeCluster('cluster3');
      expect((await connectGround()).managed).toHaveLength(2);
      await ground.hub.kubectl(['delete', 'managedcluster', 'cluster3', '--timeout=60s']);
    },
    3 * timeoutMs,
  );
});
