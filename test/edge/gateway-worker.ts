import { readFile, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import type { GatewayUnderTest } from '../contracts/gateway.contract.ts';
import { EdgeBroker } from './edge-broker.ts';

/** The Worker with a gateway, an agent of `c1`, and the kube-apiserver of `c1`. */
export interface GatewayWorker extends GatewayUnderTest {
  readonly broker: EdgeBroker;
  readonly server: Server;
}

export async function startGatewayWorker(
  vars: Readonly<Record<string, string>> = {},
): Promise<GatewayWorker> {
  await using parts = new AsyncDisposableStack();
  const certificates = await makeTestCertificates();
  parts.use(certificates);
  const { server: files, directory } = certificates;
  const kubeTokenFile = join(directory, 'token');
  await writeFile(kubeTokenFile, 'agent-token');
  const [key, cert] = await Promise.all([readFile(files.key), readFile(files.cert)]);
  let answer: RequestListener = (_request, response) => void response.end('hello');
  const server = createServer({ key, cert }, (request, response) => answer(request, response));
  parts.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const broker = parts.use(await EdgeBroker.start({ CULVERT_GATEWAY: 'true', ...vars }));
  await broker.agent('c1', {
    kubeApiserver: { host: '127.0.0.1', port: (server.address() as AddressInfo).port },
    kubeCaFile: files.ca,
    kubeTokenFile,
  });
  const all = parts.move();
  return {
    ...{ broker, server, seesRawTargets: false },
    url: broker.worker.url.replace('ws', 'http'),
    set answer(next: RequestListener) {
      answer = next;
    },
    get answer() {
      return answer;
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  };
}
