import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { beforeAll, afterAll, describe, expect, it } from 'vitest';
import { inClusterConfig } from '../../../src/kube/client/in-cluster-config.ts';
import { kubeconfigFile } from '../../../src/kube/client/kubeconfig-file.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';
import { VirtualClock } from '../../../testkit/clock/virtual-clock.ts';

let directory: string;
let files = 0;
/** PEM, as it is written by us: with a line feed at its end. */
let ca: string;
beforeAll(async () => {
  await using certificates = await makeTestCertificates();
  ca = `${(await readFile(certificates.server.ca, 'utf8')).trim()}\n`;
  directory = await mkdtemp(join(tmpdir(), 'culvert-kubeconfig-'));
  await writeFile(join(directory, 'empty'), '\n');
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const base64 = (text: string) => Buffer.from(text).toString('base64');
const cluster = { server: 'https://api.example:6443' };

interface Parts {
  readonly cluster?: object;
  readonly user?: object | null;
  readonly namespace?: string | null;
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
  it('A kubeconfig is read at the context that is named instead of the current one', async () => {
    const path = await written({
      ...kubeconfig({}),
      contexts: [
        { name: 'x', context: { cluster: 'c' } },
        { name: 'hub', context: { cluster: 'other', namespace: 'of-hub' } },
      ],
    });
    const endpoint = await kubeconfigFile(path, { context: 'hub' }).endpoint();
    expect(endpoint.namespace).toBe('of-hub');
    await expect(kubeconfigFile(path, { context: 'none' }).endpoint()).rejects.toThrow(
      'the context none is not in it',
    );
  });

  it('A kubeconfig is YAML, as OCM writes it, with files in the same folder', async () => {
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

  it('A kubeconfig can hold its data inline', async () => {
    const endpoint = await endpointOf({
      cluster: {
        ...cluster,
        'tls-server-name': 'name.example',
        'insecure-skip-tls-verify': true,
        'certificate-authority-data': null,
        'proxy-url': 'http://proxy.example:3128',
      },
      user: { token: 't' },
    });
    expect(endpoint).toMatchObject({ serverName: 'name.example', verify: false, ca: undefined });
    expect(endpoint.proxy).toMatchObject({ scheme: 'http', host: 'proxy.example', port: 3128 });
    expect(endpoint.token?.reveal()).toBe('t');
  });

  /**
   * What client-go makes of each: tools/clientcmd/api/v1/types.go documents the fields, transport
   * and rest what beats what.
   */
  describe('a kubeconfig as client-go reads it', () => {
    interface Read {
      readonly server: string;
      readonly ca: string | undefined;
      readonly serverName: string | undefined;
      readonly verify: boolean;
      readonly cert: string | undefined;
      readonly key: string | undefined;
      readonly token: string | undefined;
      readonly proxy: string | undefined;
      readonly namespace: string | undefined;
    }

    const nothing: Read = {
      server: 'https://api.example:6443/',
      ca: undefined,
      serverName: undefined,
      verify: true,
      cert: undefined,
      key: undefined,
      token: undefined,
      proxy: undefined,
      namespace: undefined,
    };

    async function readAll(content: unknown): Promise<Read> {
      const endpoint = await kubeconfigFile(await written(content)).endpoint();
      const { proxy, certificate } = endpoint;
      return {
        server: endpoint.server.href,
        ca: endpoint.ca,
        serverName: endpoint.serverName,
        verify: endpoint.verify,
        cert: certificate?.cert,
        key: certificate?.key.reveal(),
        token: endpoint.token?.reveal(),
        proxy: proxy && `${proxy.scheme} ${proxy.host} ${proxy.port}`,
        namespace: endpoint.namespace,
      };
    }

    beforeAll(async () => {
      const texts = { 'ca.crt': ca, 'c.crt': 'CERT', 'c.key': 'KEY', tok: ' t2\n' };
      await mkdir(join(directory, 'pki'));
      for (const [name, text] of Object.entries(texts)) {
        await writeFile(join(directory, 'pki', name), text);
      }
    });

    const emptyUser = (value: unknown) => ({
      token: value,
      tokenFile: value,
      'client-certificate': value,
      'client-certificate-data': value,
      'client-key': value,
      'client-key-data': value,
      username: value,
      password: value,
      as: value,
      'as-uid': value,
      'as-groups': value === null ? null : [],
      'as-user-extra': null,
      exec: null,
      'auth-provider': null,
    });
    const emptyCluster = (value: unknown) => ({
      ...cluster,
      'certificate-authority': value,
      'certificate-authority-data': value,
      'tls-server-name': value,
      'proxy-url': value,
      'insecure-skip-tls-verify': null,
    });
    const yaml = [
      'apiVersion: v1',
      'kind: Config',
      'current-context: x',
      'clusters: [{name: c, cluster: {server: "https://api.example:6443"}}]',
      'users: [{name: u, user: {token: t1}}]',
      'contexts:',
      '- name: x',
      '  context: {cluster: c, user: u}',
      '',
    ];

    it.each<[string, unknown, Partial<Read>]>([
      [
        'fields that are null are absent',
        kubeconfig({ cluster: emptyCluster(null), user: emptyUser(null), namespace: null }),
        {},
      ],
      [
        'fields that are empty are absent',
        kubeconfig({ cluster: emptyCluster(''), user: emptyUser(''), namespace: '' }),
        {},
      ],
      ['a user that is null has no credentials', kubeconfig({ user: null }), {}],
      [
        'a context without a user has no credentials',
        { ...kubeconfig({}), contexts: [{ name: 'x', context: { cluster: 'c', user: null } }] },
        {},
      ],
      [
        'tokenFile beats token',
        kubeconfig({ user: { token: 't1', tokenFile: 'pki/tok' } }),
        { token: 't2' },
      ],
      [
        'token is used while tokenFile cannot be read',
        kubeconfig({ user: { token: 't1', tokenFile: 'pki/nowhere' } }),
        { token: 't1' },
      ],
      [
        'token is used while tokenFile is empty',
        kubeconfig({ user: { token: 't1', tokenFile: 'empty' } }),
        { token: 't1' },
      ],
      [
        'paths are relative to the kubeconfig',
        kubeconfig({
          cluster: { ...cluster, 'certificate-authority': 'pki/ca.crt' },
          user: { 'client-certificate': './pki/c.crt', 'client-key': 'pki/../pki/c.key' },
        }),
        { ca: '@ca@', cert: 'CERT', key: 'KEY' },
      ],
      [
        'certificate-authority-data beats certificate-authority',
        kubeconfig({
          cluster: {
            ...cluster,
            'certificate-authority': 'pki/nowhere',
            'certificate-authority-data': '@ca@',
          },
        }),
        { ca: '@ca@' },
      ],
      [
        'client-certificate-data and client-key-data beat the files',
        kubeconfig({
          user: {
            'client-certificate': 'pki/nowhere',
            'client-certificate-data': base64('C'),
            'client-key': 'pki/nowhere',
            'client-key-data': base64('K'),
          },
        }),
        { cert: 'C', key: 'K' },
      ],
      [
        'base64 may be broken into lines',
        kubeconfig({
          cluster: { ...cluster, 'certificate-authority-data': '@ca in lines@' },
        }),
        { ca: '@ca@' },
      ],
      [
        'insecure-skip-tls-verify turns the check off',
        kubeconfig({ cluster: { ...cluster, 'insecure-skip-tls-verify': true } }),
        { verify: false },
      ],
      [
        'tls-server-name is the name in the certificate',
        kubeconfig({ cluster: { ...cluster, 'tls-server-name': 'n.example' } }),
        { serverName: 'n.example' },
      ],
      [
        'proxy-url may be http://',
        kubeconfig({ cluster: { ...cluster, 'proxy-url': 'http://p.example:3128' } }),
        { proxy: 'http p.example 3128' },
      ],
      [
        'proxy-url may be https://',
        kubeconfig({ cluster: { ...cluster, 'proxy-url': 'https://p.example' } }),
        { proxy: 'https p.example 443' },
      ],
      [
        'proxy-url may be socks5://, and the proxy resolves names',
        kubeconfig({ cluster: { ...cluster, 'proxy-url': 'socks5://localhost' } }),
        { proxy: 'socks5h localhost 1080' },
      ],
      ['lines may end with CRLF', yaml.join('\r\n'), { token: 't1' }],
      ['a byte order mark may come first', `\uFEFF${yaml.join('\n')}`, { token: 't1' }],
      ['CRLF and a byte order mark', `\uFEFF${yaml.join('\r\n')}`, { token: 't1' }],
      ['JSON with a byte order mark', `\uFEFF${JSON.stringify(kubeconfig({}))}`, {}],
      ['namespace is that of the context', kubeconfig({ namespace: 'ns' }), { namespace: 'ns' }],
    ])('A kubeconfig is read as client-go reads it: %s', async (_, content, expected) => {
      const text = typeof content === 'string' ? content : JSON.stringify(content);
      const lines = base64(ca).replaceAll(/.{60}/g, String.raw`$&\r\n`);
      const given = text.replace('@ca in lines@', lines).replace('@ca@', base64(ca));
      const read = await readAll(given);
      expect({ ...read, ca: read.ca === ca ? '@ca@' : read.ca }).toEqual({
        ...nothing,
        ...expected,
      });
    });
  });

  it('A kubeconfig is read again when it is old, and stays the same object while nothing changes', async () => {
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

  it('A kubeconfig uses a rewritten file in the same folder', async () => {
    const tokenFile = join(directory, 'a-token');
    await writeFile(tokenFile, 'one\n');
    const path = await written(kubeconfig({ user: { tokenFile: 'a-token' } }));
    const config = kubeconfigFile(path, { maxAgeMs: 0 });
    expect((await config.endpoint()).token?.reveal()).toBe('one');
    await writeFile(tokenFile, 'two\n');
    expect((await config.endpoint()).token?.reveal()).toBe('two');
  });

  it('A kubeconfig may have a user with a plugin', async () => {
    const plugin = join(directory, 'plugin.sh');
    const status = { token: 'from-plugin' };
    const apiVersion = 'client.authentication.k8s.io/v1';
    const credential = JSON.stringify({ apiVersion, kind: 'ExecCredential', status });
    await writeFile(plugin, `#!/bin/sh\necho '${credential}'\n`);
    await chmod(plugin, 0o700);
    const exec = { apiVersion, command: plugin, interactiveMode: 'Never' };
    expect((await endpointOf({ user: { exec } })).token?.reveal()).toBe('from-plugin');
  });

  it('A kubeconfig may have a user with a plugin, a byte order mark and CRLF', async () => {
    const plugin = join(directory, 'plugin-2.sh');
    const apiVersion = 'client.authentication.k8s.io/v1';
    const status = { token: 'from-plugin' };
    const credential = JSON.stringify({ apiVersion, kind: 'ExecCredential', status });
    await writeFile(plugin, `#!/bin/sh\necho '${credential}'\n`);
    await chmod(plugin, 0o700);
    const exec = { apiVersion, command: './plugin-2.sh', interactiveMode: 'Never' };
    const text = JSON.stringify(kubeconfig({ user: { exec } }), undefined, 1);
    const path = await written(`\uFEFF${text.replaceAll('\n', '\r\n')}`);
    expect((await kubeconfigFile(path).endpoint()).token?.reveal()).toBe('from-plugin');
  });

  it('A kubeconfig names the plugin that gave no credentials', async () => {
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
      'a proxy of an unknown scheme',
      kubeconfig({ cluster: { ...cluster, 'proxy-url': 'socks4://u:hidden@x' } }),
      /proxy-url of its cluster begins with socks4:\/\/, only http:/,
    ],
    [
      'a proxy whose password is not encoded',
      kubeconfig({ cluster: { ...cluster, 'proxy-url': 'http://u:12#hidden@x' } }),
      /proxy-url of its cluster has a #, .*%23/,
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
    ['impersonation', kubeconfig({ user: { as: 'ann' } }), /impersonates another \(as\)/],
    [
      'groups to impersonate',
      kubeconfig({ user: { 'as-groups': ['g'] } }),
      /impersonates another \(as-groups\)/,
    ],
    [
      'a user name and password',
      kubeconfig({ user: { username: 'ann', password: 'hidden' } }),
      /username and password.*since 1\.19/,
    ],
    [
      'a token that is a number',
      kubeconfig({ user: { token: 12345 } }),
      /token of its user is not text, put it in quotes/,
    ],
    [
      'an empty token file',
      kubeconfig({ user: { tokenFile: 'empty' } }),
      /the token file empty of its user is empty/,
    ],
    [
      'a CA that is not base64',
      kubeconfig({ cluster: { ...cluster, 'certificate-authority-data': '-----BEGIN' } }),
      /certificate-authority-data of its cluster is not base64/,
    ],
    [
      'a CA that is not used',
      kubeconfig({
        cluster: {
          ...cluster,
          'certificate-authority-data': '@ca@',
          'insecure-skip-tls-verify': true,
        },
      }),
      /insecure-skip-tls-verify: true, remove one/,
    ],
    [
      'a flag that is neither true nor false',
      kubeconfig({ cluster: { ...cluster, 'insecure-skip-tls-verify': 'yes' } }),
      /neither true nor false/,
    ],
  ])('A kubeconfig is refused with %s', async (_, content, sentence) => {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    const call = kubeconfigFile(await written(text.replace('@ca@', base64(ca)))).endpoint();
    const failure = await call.catch((thrown: unknown) => thrown);
    expect(failure).toMatchObject({ code: 'bad_config' });
    expect((failure as Error).message).toMatch(sentence);
    expect((failure as Error).message).not.toContain('hidden');
  });

  it('A kubeconfig is refused with its path while it does not exist, and used later', async () => {
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
  ])('The configuration in a pod is in its environment and its volume: %s', async (host, url) => {
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

  it('The configuration in a pod is refused outside of a pod', async () => {
    await expect(inClusterConfig({}).endpoint()).rejects.toMatchObject({
      code: 'bad_config',
      message: expect.stringContaining('Outside of one give --kubeconfig'),
    });
  });

  it('The configuration in a pod is refused without a ServiceAccount', async () => {
    const env = { KUBERNETES_SERVICE_HOST: '10.0.0.1', KUBERNETES_SERVICE_PORT: '443' };
    const config = inClusterConfig(env, { directory: join(directory, 'none') });
    await expect(config.endpoint()).rejects.toThrow('automountServiceAccountToken: true');
  });
});
