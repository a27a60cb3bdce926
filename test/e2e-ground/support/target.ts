import type { GroundCluster } from '../../../testkit/ground/kubernetes/ground.ts';
import { ownImage } from '../../../testkit/ground/kubernetes/images.ts';
import { testNamespace } from './names.ts';

// The pattern of testkit/stream/pattern.ts, repeated because a pod does not have that file. Without
// a number of bytes the body is endless and slow, so that it can last for minutes.
const serve = `
const period = 65521;
const pattern = Buffer.alloc(5 * period);
for (let i = 0; i < pattern.length; i++) {
  const at = i % period;
  pattern[i] = (at * 167 + (at >> 8) * 13) & 0xff;
}
require('http').createServer(async (request, response) => {
  const url = new URL(request.url, 'http://target');
  if (url.pathname !== '/pattern') return void response.end('hello');
  const promised = Number(url.searchParams.get('bytes') ?? Infinity);
  if (promised < Infinity) response.setHeader('content-length', promised);
  const pauseMs = promised < Infinity ? 0 : 20;
  for (let at = 0; at < promised && !response.destroyed; ) {
    const length = Math.min(pauseMs ? 16384 : 4 * period, promised - at);
    const piece = pattern.subarray(at % period, (at % period) + length);
    at += piece.length;
    if (!response.write(piece)) {
      await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
    }
    if (pauseMs) await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  response.end();
}).listen(8080);
process.on('SIGTERM', () => process.exit());`;

const path = `/api/v1/namespaces/${testNamespace}/pods/target:8080/proxy`;
/** A body of that many bytes of the pattern, at the kube-apiserver. */
export const patternPath = (bytes: number): string => `${path}/pattern?bytes=${bytes}`;
/** One that does not end. */
export const endlessPath = `${path}/pattern`;

/** A pod that sends patterns; the kube-apiserver of its cluster leads to it. */
export async function startTarget(cluster: GroundCluster): Promise<void> {
  await cluster.apply([
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: testNamespace } },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'target', namespace: testNamespace },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'target',
            image: ownImage,
            imagePullPolicy: 'Never',
            command: ['/usr/local/bin/node', '-e', serve],
            readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 },
          },
        ],
      },
    },
  ]);
  const ready = ['wait', '--for=condition=Ready', 'pod/target', '--timeout=60s'];
  await cluster.kubectl(['-n', testNamespace, ...ready]);
}

export async function removeTarget(cluster: GroundCluster): Promise<void> {
  await cluster.kubectl(['delete', 'namespace', testNamespace, '--ignore-not-found']);
}
