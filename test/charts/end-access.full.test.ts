import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import { once } from 'node:events';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../testkit/processes/process.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { node } from '../../testkit/world/world.ts';

const script = fileURLToPath(
  new URL('../../charts/cluster-proxy/files/end-access.mjs', import.meta.url),
);
const provider = (server: string) => ({ name: 'open-cluster-management', cluster: { server } });
const ours = provider('https://cluster-proxy-addon-user.hub-ns:9092/c1');
const foreign = provider('https://other.example.com');
const profile = (...accessProviders: object[]) => ({
  metadata: { namespace: 'default', name: 'c1' },
  status: { accessProviders },
});

/** Answers of the API server, one for each request. The last one repeats. */
interface Answers {
  readonly deletes: readonly number[];
  /** A status, or ClusterProfiles. */
  readonly lists: readonly (number | readonly object[])[];
}

describe('The program that ends the access of ClusterProfiles', () => {
  let certificates: TestCertificates;
  let directory: string;
  let server: Server;
  let deletes: number[] = [];
  let lists: (number | readonly object[])[] = [];
  let requests: string[] = [];

  beforeAll(async () => {
    certificates = await makeTestCertificates();
    directory = await mkdtemp(join(tmpdir(), 'culvert-end-access-'));
    const { cert, key, ca } = certificates.server;
    const tls = { cert: await readFile(cert), key: await readFile(key) };
    server = createServer(tls, ({ method, url, headers }, response) => {
      requests.push(`${method} ${url!.split('/').at(-1)}`);
      const queue: (number | readonly object[])[] = method === 'DELETE' ? deletes : lists;
      const next = queue.length > 1 ? queue.shift()! : queue[0]!;
      const isAllowed = headers.authorization === 'Bearer token';
      response.statusCode = isAllowed ? (typeof next === 'number' ? next : 200) : 401;
      const body = typeof next === 'number' ? { message: `answer ${next}` } : { items: next };
      response.end(next === 404 ? '404 page not found' : JSON.stringify(body));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    await writeFile(join(directory, 'token'), 'token');
    await copyFile(ca, join(directory, 'ca.crt'));
  }, 30_000);
  afterAll(async () => {
    server?.close();
    server?.closeAllConnections();
    await rm(directory, { recursive: true, force: true });
    await certificates?.[Symbol.asyncDispose]();
  });

  async function run(answers: Answers, timeoutSeconds = 30) {
    deletes = [...answers.deletes];
    lists = [...answers.lists];
    requests = [];
    const { code, stdout } = await runProgram({
      command: node,
      args: ['--input-type=module', '--eval', await readFile(script, 'utf8')],
      env: {
        RELEASE_NAMESPACE: 'hub-ns',
        TIMEOUT_SECONDS: String(timeoutSeconds),
        SERVICE_ACCOUNT: directory,
        KUBERNETES_SERVICE_HOST: '127.0.0.1',
        KUBERNETES_SERVICE_PORT: String((server.address() as AddressInfo).port),
      },
    });
    return { code, stdout };
  }

  it('The program deletes the configuration, and waits until the manager has removed its access providers', async () => {
    const answers = {
      deletes: [403, 200, 404],
      lists: [[profile(foreign, ours)], [profile(foreign)]],
    };
    expect(await run(answers)).toEqual({ code: 0, stdout: '' });
    expect(requests).toEqual([
      'DELETE cluster-proxy',
      ...['DELETE cluster-proxy', 'GET clusterprofiles'],
      ...['DELETE cluster-proxy', 'GET clusterprofiles'],
    ]);
  });

  it('The program ends at once on a hub without ClusterProfiles', async () => {
    expect(await run({ deletes: [200], lists: [404] })).toEqual({ code: 0, stdout: '' });
    expect(requests).toEqual(['DELETE cluster-proxy', 'GET clusterprofiles']);
  });

  it('The program does not make the removal fail if access providers remain', async () => {
    const { code, stdout } = await run({ deletes: [200], lists: [[profile(ours)]] }, 1);
    expect(code).toBe(0);
    expect(stdout).toBe('access providers may be left in ClusterProfiles: default/c1\n');
  });
});
