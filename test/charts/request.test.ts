import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import { once } from 'node:events';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { runProgram } from '../../testkit/processes/process.ts';
import { node, startWorld, type World } from '../../testkit/world/world.ts';

const script = fileURLToPath(
  new URL('../../charts/cluster-proxy/files/request.mjs', import.meta.url),
);

describe('The program of helm test', () => {
  let world: World;
  let apiServer: Server;
  /** The clusters that the hub's kube-apiserver lists; only cluster1 has an agent. */
  let clusters: readonly string[] = [];
  /** The version of OCM's addon API that the hub serves. */
  let version = 'v1alpha1';

  beforeAll(async () => {
    // One server plays the kube-apiservers of the hub and of cluster1.
    apiServer = createServer((request, response) => {
      const items = clusters.map((namespace) => ({ metadata: { namespace } }));
      const [path, query] = request.url!.split('?');
      const isList =
        path === `/apis/addon.open-cluster-management.io/${version}/managedclusteraddons` &&
        query === 'fieldSelector=metadata.name%3Dcluster-proxy';
      const isAllowed = request.headers.authorization === 'Bearer token';
      if (request.url === '/version') response.end('{"gitVersion":"v1.34.4"}');
      else if (!isList) response.writeHead(404).end('404 page not found');
      else response.end(JSON.stringify(isAllowed ? { items } : { message: 'forbidden' }));
    });
    apiServer.listen(0, '127.0.0.1');
    await once(apiServer, 'listening');
    const { port } = apiServer.address() as AddressInfo;
    world = await startWorld({ agentArgs: ['--kube-apiserver', `127.0.0.1:${port}`] });
    const { server, client } = world.certificates;
    apiServer.setSecureContext({
      cert: await readFile(server.cert),
      key: await readFile(server.key),
    });
    for (const name of ['account', 'credentials']) await mkdir(join(world.directory, name));
    await writeFile(join(world.directory, 'account/token'), 'token');
    await copyFile(server.ca, join(world.directory, 'account/ca.crt'));
    await copyFile(server.ca, join(world.directory, 'credentials/ca.crt'));
    await copyFile(client.cert, join(world.directory, 'credentials/tls.crt'));
    await copyFile(client.key, join(world.directory, 'credentials/tls.key'));
  });
  afterAll(async () => {
    apiServer?.close();
    await world?.[Symbol.asyncDispose]();
  });

  async function run(): Promise<{ code: number | null; stdout: string }> {
    const { code, stdout } = await runProgram({
      command: node,
      // As in the pod: the text of the program is an argument.
      args: ['--input-type=module', '--eval', await readFile(script, 'utf8')],
      env: {
        PROXY_ADDRESS: world.front.address,
        PROXY_CREDENTIALS: join(world.directory, 'credentials'),
        SERVICE_ACCOUNT: join(world.directory, 'account'),
        KUBERNETES_SERVICE_HOST: '127.0.0.1',
        KUBERNETES_SERVICE_PORT: String((apiServer.address() as AddressInfo).port),
      },
    });
    return { code, stdout };
  }

  it('The program of helm test prints what the kube-apiserver of each cluster answered', async () => {
    clusters = ['cluster1'];
    expect(await run()).toEqual({
      code: 0,
      stdout: 'cluster1: GET /version answered 200 v1.34.4\n',
    });
  });

  it('The program of helm test knows both versions of the addon API', async () => {
    clusters = ['cluster1'];
    version = 'v1beta1';
    onTestFinished(() => void (version = 'v1alpha1'));
    expect(await run()).toMatchObject({ code: 0 });
  });

  it('The program of helm test fails when a cluster has no agent, and names the cluster', async () => {
    clusters = ['cluster2', 'cluster1'];
    expect(await run()).toEqual({
      code: 1,
      stdout: 'cluster1: GET /version answered 200 v1.34.4\ncluster2: FAILED: No agent available\n',
    });
  });

  it('The program of helm test fails when no cluster has the addon', async () => {
    clusters = [];
    expect(await run()).toEqual({ code: 1, stdout: 'no cluster has the addon yet\n' });
  });

  it('Kubernetes expands nothing in the text of the program', async () => {
    expect(await readFile(script, 'utf8')).not.toMatch(/\$\(|\$\$/);
  });
});
