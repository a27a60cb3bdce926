import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LastGoodCa } from '../../../src/base/tls/last-good-ca.ts';
import { type Logger, silentLogger } from '../../../src/base/log/logger.ts';
import { ApiServerConnection } from '../../../src/kube/client/api-server-connection.ts';
import { inClusterConfig } from '../../../src/kube/client/in-cluster-config.ts';
import type { KubeConfig } from '../../../src/kube/client/kube-endpoint.ts';
import { kubeconfigFile } from '../../../src/kube/client/kubeconfig-file.ts';
import {
  type CertificateFiles,
  makeTestCertificates,
  type TestCertificates,
} from '../../../testkit/world/certificates.ts';
import type { LogFields } from '../../../src/base/log/log-field.ts';

let directory: string;
let certificates: TestCertificates;
/** The certificate of an API server, by an intermediate CA; `ca` is that CA alone. */
let shown: CertificateFiles;
let server: Server;
let port: number;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-kube-ca-'));
  certificates = await makeTestCertificates();
  const intermediate = await certificates.serverAuthority.createIntermediate('api-intermediate');
  shown = await intermediate.issue({ name: 'api', usage: 'server' });
  const [cert, key] = await Promise.all([readFile(shown.cert), readFile(shown.key)]);
  server = createServer({ cert, key }, (_, answer) => answer.end('{}'));
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(async () => {
  server?.closeAllConnections();
  server?.close();
  await certificates?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

async function statusOf(config: KubeConfig): Promise<number | undefined> {
  const connection = new ApiServerConnection({ config, userAgent: 'test' });
  try {
    const request = { method: 'GET', path: '/version', what: 'get the version' } as const;
    const answer = await connection.send(request, AbortSignal.timeout(10_000));
    answer.resume();
    return answer.statusCode;
  } finally {
    connection.close();
  }
}

async function kubeconfig(name: string, cluster: object): Promise<string> {
  const path = join(directory, name);
  const content = {
    clusters: [{ name: 'c', cluster: { server: `https://127.0.0.1:${port}`, ...cluster } }],
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  await writeFile(path, JSON.stringify(content));
  return path;
}

const base64 = async (path: string) => (await readFile(path)).toString('base64');

describe('the CA in a kubeconfig', () => {
  it('may be the intermediate that issued the certificate, in the kubeconfig or in a file', async () => {
    const data = await kubeconfig('data', { 'certificate-authority-data': await base64(shown.ca) });
    expect(await statusOf(kubeconfigFile(data))).toBe(200);
    const file = await kubeconfig('file', { 'certificate-authority': shown.ca });
    expect(await statusOf(kubeconfigFile(file))).toBe(200);
  });

  it('may be the certificate of the server itself', async () => {
    const path = await kubeconfig('leaf', { 'certificate-authority': shown.cert });
    expect(await statusOf(kubeconfigFile(path))).toBe(200);
  });

  it('is not trusted for what another CA has issued', async () => {
    const { ca } = certificates.stranger;
    const path = await kubeconfig('other', { 'certificate-authority': ca });
    await expect(statusOf(kubeconfigFile(path))).rejects.toThrow('check the CA');
  });

  it.each([
    ['is empty', ''],
    ['there is no certificate', 'text'],
    ['is cut off', '-----BEGIN CERTIFICATE-----\nMIIB\n'],
  ])('must hold a certificate: %s', async (reason, text) => {
    const file = join(directory, 'bad.crt');
    await writeFile(file, text);
    const path = await kubeconfig('bad', { 'certificate-authority': file });
    const failure = {
      code: 'bad_config',
      message: expect.stringMatching(new RegExp(`${path}.*${file}.*${reason}`)),
    };
    await expect(statusOf(kubeconfigFile(path))).rejects.toMatchObject(failure);
  });
});

describe('the CA in a pod', () => {
  it('may be the intermediate, and stays in use when its file becomes empty', async () => {
    const put = (name: string, text: string | Buffer) => writeFile(join(directory, name), text);
    await put('ca.crt', await readFile(shown.ca));
    await put('token', 'token');
    await put('namespace', 'hub');
    const lines: (LogFields | undefined)[] = [];
    const error = (_: string, fields?: LogFields) => void lines.push(fields);
    const log: Logger = { ...silentLogger, error };
    const ca = new LastGoodCa("CA of the pod's ServiceAccount", log);
    const env = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: `${port}` };
    const config = inClusterConfig(env, { directory, maxAgeMs: 0, ca });
    expect(await statusOf(config)).toBe(200);
    await put('ca.crt', '');
    await put('token', 'another token');
    expect(await statusOf(config)).toBe(200);
    expect((await config.endpoint()).token?.reveal()).toBe('another token');
    expect(ca.stale).toBe(true);
    expect(lines).toMatchObject([
      { what: "CA of the pod's ServiceAccount", error: expect.stringContaining('it is empty') },
    ]);
  });

  it('must hold a certificate from the beginning', async () => {
    const empty = await mkdtemp(join(directory, 'empty-'));
    await writeFile(join(empty, 'ca.crt'), '');
    const env = { KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: `${port}` };
    await expect(statusOf(inClusterConfig(env, { directory: empty }))).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringMatching(/ca\.crt cannot be used: it is empty/),
    });
  });
});
