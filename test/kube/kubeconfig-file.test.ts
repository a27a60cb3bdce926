import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeAll, afterAll, describe, expect, it } from 'vitest';
import { inClusterConfig } from '../../src/kube/in-cluster-config.ts';
import { kubeconfigFile } from '../../src/kube/kubeconfig-file.ts';
import { makeTestCertificates } from '../support/certificates.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

let directory: string;
let files = 0;
/** PEM, as it is written by us: with a line feed at its end. */
let ca: string;
beforeAll(async () => {
  await using certificates = await makeTestCertificates();
  ca = `${(await readFile(certificates.server.ca, 'utf8')).trim()}\n`;
  directory = await mkdtemp(join(tmpdir(), 'culvert-kubeconfig-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const base64 = (text: string) => Buffer.from(text).toString('base64');
const cluster = { server: 'https://api.example:6443' };

interface Parts {
  readonly cluster?: object;
  readonly user?: object;
  readonly namespace?: string;
}

function kubeconfig({ cluster: given = cluster, user = {}, namespace }: Parts) {
  return {
    clusters: [
      { name: 'other', cluster },
      { name: 'c', cluster: given },
    ],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace } }],
    'current-context': 'x',
  };
}

async function written(content: unknown): Promise<string> {
  const path = join(directory, `kubeconfig-${++files}`);
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const endpointOf = async (parts: Parts) =>
  kubeconfigFile(await written(kubeconfig(parts))).endpoint();

describe('a kubeconfig', () => {
  it('is YAML, as OCM writes it, with files that lie beside it', async () => {
    await writeFile(join(directory, 'tls.crt'), 'CERT');
    await writeFile(join(directory, 'tls.key'), 'KEY');
    const path = await written(`
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${base64(ca)}
    server: https://api.example:6443
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: cluster1
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
users:
- name: default-auth
  user:
    client-certificate: tls.crt
    client-key: tls.key
`);
    const endpoint = await kubeconfigFile(path).endpoint();
    expect(endpoint).toMatchObject({ ca, namespace: 'cluster1', verify: true });
    expect(endpoint.server.href).toBe('https://api.example:6443/');
    expect(endpoint.certificate?.cert).toBe('CERT');
    expect(endpoint.certificate?.key.reveal()).toBe('KEY');
  });

  it('has what it says inline', async () => {
    const endpoint = await endpointOf({
      cluster: {
        ...cluster,
        'tls-server-name': 'name.example',
        'insecure-skip-tls-verify': true,
        'proxy-url': 'http://proxy.example:3128',
      },
      user: { token: 't' },
    });
    expect(endpoint).toMatchObject({ serverName: 'name.example', verify: false, ca: undefined });
    expect(endpoint.proxy?.host).toBe('proxy.example:3128');
    expect(endpoint.token?.reveal()).toBe('t');
  });

  it('is read again when it is old, and is the same object while it says the same', async () => {
    const path = await written(kubeconfig({ user: { token: 'one' } }));
    const clock = new VirtualClock();
    const config = kubeconfigFile(path, { clock, maxAgeMs: 10_000 });
    const first = await config.endpoint();
    await writeFile(path, JSON.stringify(kubeconfig({ user: { token: 'two' } })));
    await clock.advance(9_999);
    expect(await config.endpoint()).toBe(first);
    await clock.advance(1);
    const second = await config.endpoint();
    expect(second.token?.reveal()).toBe('two');
    await clock.advance(10_000);
    expect(await config.endpoint()).toBe(second);

    await writeFile(path, JSON.stringify(kubeconfig({ user: { token: 'three' } })));
    config.expire();
    expect((await config.endpoint()).token?.reveal()).toBe('three');
  });

  it('notices a file beside it that is rewritten', async () => {
    const tokenFile = join(directory, 'a-token');
    await writeFile(tokenFile, 'one\n');
    const path = await written(kubeconfig({ user: { tokenFile: 'a-token' } }));
    const config = kubeconfigFile(path, { maxAgeMs: 0 });
    expect((await config.endpoint()).token?.reveal()).toBe('one');
    await writeFile(tokenFile, 'two\n');
    expect((await config.endpoint()).token?.reveal()).toBe('two');
  });

  it('may have a user with a plugin', async () => {
    const plugin = join(directory, 'plugin.sh');
    const status = { token: 'from-plugin' };
    const apiVersion = 'client.authentication.k8s.io/v1';
    const credential = JSON.stringify({ apiVersion, kind: 'ExecCredential', status });
    await writeFile(plugin, `#!/bin/sh\necho '${credential}'\n`);
    await chmod(plugin, 0o700);
    const exec = { apiVersion, command: plugin, interactiveMode: 'Never' };
    expect((await endpointOf({ user: { exec } })).token?.reveal()).toBe('from-plugin');
  });

  it('says which plugin gave nothing', async () => {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: '/nowhere/plugin' };
    await expect(endpointOf({ user: { exec } })).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringContaining('the plugin of the user'),
    });
  });

  it.each<[string, unknown, RegExp]>([
    ['no YAML', 'a: [', /it is not YAML/],
    ['a word', 'hello', /no list of clusters/],
    ['nothing', '', /no list of clusters/],
    ['lists of nothing', { clusters: [null] }, /no list of clusters/],
    ['no current context', { clusters: [] }, /names no current-context/],
    [
      'a context that is not in it',
      { clusters: [], 'current-context': 'y' },
      /current-context y is not/,
    ],
    [
      'a cluster that is not in it',
      { ...kubeconfig({}), clusters: [] },
      /cluster c of its context x is not/,
    ],
    [
      'a user that is not in it',
      { ...kubeconfig({}), users: [] },
      /user u of its context x is not/,
    ],
    [
      'a server that is no URL',
      kubeconfig({ cluster: { server: 'api:6443' } }),
      /server of its cluster/,
    ],
    ['no server', kubeconfig({ cluster: {} }), /server of its cluster/],
    [
      'a proxy that is no HTTP proxy',
      kubeconfig({ cluster: { ...cluster, 'proxy-url': 'socks5://u:hidden@x' } }),
      /proxy-url of its cluster is no URL that begins with http:\/\/ or https:\/\//,
    ],
    [
      'half a certificate',
      kubeconfig({ user: { 'client-key-data': base64('k') } }),
      /both are needed/,
    ],
    [
      'a file that is not there',
      kubeconfig({ user: { tokenFile: 'nowhere' } }),
      /the token .*nowhere cannot be read/,
    ],
    ['impersonation', kubeconfig({ user: { as: 'ann' } }), /acts as ann/],
  ])('is refused with %s', async (_, content, sentence) => {
    const call = kubeconfigFile(await written(content)).endpoint();
    const failure = await call.catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code: 'bad_config' });
    expect((failure as Error).message).toMatch(sentence);
    expect((failure as Error).message).not.toContain('hidden');
  });

  it('is refused by its path when it is not there, and used when it is', async () => {
    const path = join(directory, 'later', 'kubeconfig');
    const config = kubeconfigFile(path);
    await expect(config.endpoint()).rejects.toThrow(`the kubeconfig ${path} cannot be read`);
    await mkdir(dirname(path));
    await writeFile(path, JSON.stringify(kubeconfig({})));
    expect((await config.endpoint()).server.host).toBe('api.example:6443');
  });
});

describe('the configuration in a pod', () => {
  const volume = async () => {
    const at = await mkdtemp(join(directory, 'service-account-'));
    await writeFile(join(at, 'ca.crt'), ca);
    await writeFile(join(at, 'token'), 'one');
    await writeFile(join(at, 'namespace'), 'hub\n');
    return at;
  };

  it.each([
    ['10.0.0.1', 'https://10.0.0.1:6443/'],
    ['fd00::1', 'https://[fd00::1]:6443/'],
  ])('is in its environment and its volume: %s', async (host, url) => {
    const at = await volume();
    const env = { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: '6443' };
    const config = inClusterConfig(env, { directory: at, maxAgeMs: 0 });
    const endpoint = await config.endpoint();
    expect(endpoint).toMatchObject({ ca, namespace: 'hub', verify: true });
    expect(endpoint.server.href).toBe(url);
    expect(endpoint.token?.reveal()).toBe('one');
    await writeFile(join(at, 'token'), 'two');
    expect((await config.endpoint()).token?.reveal()).toBe('two');
  });

  it('is refused outside of a pod', async () => {
    await expect(inClusterConfig({}).endpoint()).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringContaining('Outside of one give --kubeconfig'),
    });
  });

  it('is refused without a ServiceAccount', async () => {
    const env = { KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '443' };
    const config = inClusterConfig(env, { directory: join(directory, 'none') });
    await expect(config.endpoint()).rejects.toThrow('automountServiceAccountToken: true');
  });
});
