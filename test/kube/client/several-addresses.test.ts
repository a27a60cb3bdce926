import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { expect, it, onTestFinished, vi } from 'vitest';
import { systemNames } from '../../../src/base/net/name-resolver.ts';
import type { KubeEndpoint } from '../../../src/kube/client/kube-endpoint.ts';
import { RestKubeApi } from '../../../src/kube/client/rest-kube-api.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import { startUnansweringPort } from '../../../testkit/network/unanswering-port.ts';

const { signal } = new AbortController();
const kinds = { resources: [{ name: 'configmaps', kind: 'ConfigMap', namespaced: true }] };
const mapRef = { apiVersion: 'v1', kind: 'ConfigMap', namespace: 'default', name: 'a' };
const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace: 'default', name: 'a' } };
const answer: RequestListener = (request, response) => {
  response.end(JSON.stringify(request.url === '/api/v1' ? kinds : map));
};

it.each(['http', 'https'])(
  'An API server by name is reached over %s at its second address when the first one never answers',
  async (scheme) => {
    await using certificates = await makeTestCertificates();
    const { server: files } = certificates;
    const [cert, key, ca] = await Promise.all(
      [files.cert, files.key, files.ca].map((file) => readFile(file, 'utf8')),
    );
    await using silent = await startUnansweringPort();
    const server =
      scheme === 'http' ? createHttpServer(answer) : createHttpsServer({ cert, key }, answer);
    server.listen(silent.port, '::1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const lookup = vi
      .spyOn(systemNames, 'lookup')
      .mockResolvedValue({ addresses: ['127.0.0.1', '::1'] });
    onTestFinished(() => lookup.mockRestore());
    const endpoint: KubeEndpoint = {
      server: new URL(`${scheme}://api.test:${silent.port}`),
      ca,
      serverName: 'localhost',
      verify: true,
      certificate: undefined,
      token: undefined,
      proxy: undefined,
      namespace: undefined,
    };
    const config = { endpoint: () => Promise.resolve(endpoint), expire() {} };
    const api = new RestKubeApi({ config, fieldManager: 'test' });
    onTestFinished(() => api.close());
    expect(await api.get(mapRef, { signal })).toEqual(map);
    expect(lookup).toHaveBeenCalledWith('api.test', expect.any(AbortSignal));
  },
);
