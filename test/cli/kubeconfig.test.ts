import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { listHubClusters } from '../../src/cli/hub-clusters.ts';
import { MemoryKubeApi, ocmKinds } from '../../testkit/kube/memory-kube-api.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { cli } from './captured-cli.ts';

let folder: string;
let config: string;
let certificates: TestCertificates;
beforeAll(async () => {
  certificates = await makeTestCertificates();
});
afterAll(() => certificates[Symbol.asyncDispose]());
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'culvert-kubeconfig-'));
  config = join(folder, 'config');
});
afterEach(() => rmSync(folder, { recursive: true }));

const url = 'https://proxy.example.com:9092';
const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  cli(['kubeconfig', '--url', url, ...args], { HOME: folder, ...env });
const forOne = (...args: string[]) =>
  run(['--cluster', 'prod-1', '--user-token-file', '/t/{cluster}', '--output', config, ...args]);

interface Kubeconfig {
  readonly clusters: readonly { readonly name: string; readonly cluster: object }[];
  readonly users: readonly { readonly name: string; readonly user: object }[];
  readonly contexts: readonly { readonly name: string; readonly context: object }[];
}
const read = (path: string) => parse(readFileSync(path, 'utf8')) as Kubeconfig;

describe('culvert kubeconfig', () => {
  it('culvert kubeconfig writes a file that only its owner can read, and lists the changes', async () => {
    expect(await forOne()).toEqual({
      code: 0,
      stdout: 'prod-1 added\n',
      stderr: `1 contexts, 0 of them unchanged; written to ${config}\n`,
    });
    expect(statSync(config).mode & 0o777).toBe(0o600);
    expect(read(config).users[0]).toMatchObject({ user: { tokenFile: '/t/prod-1' } });
    expect(readdirSync(folder)).toEqual(['config']);
    expect((await forOne()).stderr).toContain('nothing to change');
  });

  it('culvert kubeconfig uses ~/.kube/config, and keeps a link in its place', async () => {
    mkdirSync(join(folder, '.kube'));
    writeFileSync(config, '');
    symlinkSync(config, join(folder, '.kube', 'config'));
    const { code } = await run(['--cluster', 'prod-1', '--user-token-file', 't']);
    expect(code).toBe(0);
    expect(lstatSync(join(folder, '.kube', 'config')).isSymbolicLink()).toBe(true);
    expect(read(config).contexts).toHaveLength(1);
  });

  it('culvert kubeconfig adds contexts to the first file of KUBECONFIG that exists', async () => {
    writeFileSync(config, '');
    const KUBECONFIG = [join(folder, 'missing'), config, join(folder, 'last')].join(delimiter);
    await run(['--cluster', 'prod-1', '--user-token-file', 't'], { KUBECONFIG });
    expect(readdirSync(folder)).toEqual(['config']);
    expect(read(config).contexts).toHaveLength(1);
  });

  it('culvert kubeconfig writes nothing with --dry-run and --stdout', async () => {
    expect(await forOne('--dry-run')).toMatchObject({ code: 0, stdout: 'prod-1 added\n' });
    const printed = await run(['--cluster', 'a', '--user-token-file', 't', '--stdout']);
    expect((parse(printed.stdout) as Kubeconfig).contexts).toHaveLength(1);
    expect(existsSync(config)).toBe(false);
  });

  it('culvert kubeconfig stops at an entry of another program, and --force replaces it', async () => {
    const foreign = { contexts: [{ name: 'prod-1', context: { cluster: 'x', user: 'y' } }] };
    writeFileSync(config, JSON.stringify(foreign));
    const refused = await forOne();
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain(`did not write the context prod-1 in ${config}`);
    expect(JSON.parse(readFileSync(config, 'utf8'))).toEqual(foreign);
    expect(await forOne('--force')).toMatchObject({ code: 0, stdout: 'prod-1 updated\n' });
    expect(await forOne('--context-name', '{cluster}@culvert')).toMatchObject({ code: 0 });
  });

  it('culvert kubeconfig writes nothing while kubectl holds the lock of the file', async () => {
    writeFileSync(`${config}.lock`, '');
    const { code, stderr } = await forOne();
    expect(code).toBe(1);
    expect(stderr).toContain(`${config} is locked by another program`);
    expect(readdirSync(folder)).toEqual(['config.lock']);
  });

  it('culvert kubeconfig copies CA certificates, and writes credentials of every kind', async () => {
    const { ca } = certificates.server;
    const one = async (args: readonly string[], env = {}) => {
      const printed = await run(['--cluster', 'c1', '--stdout', ...args], env);
      expect(printed).toMatchObject({ code: 0 });
      return parse(printed.stdout) as Kubeconfig;
    };
    const withCa = await one([
      '--ca-file',
      ca,
      '--user-certificate-file',
      'a',
      '--user-key-file',
      'b',
    ]);
    const data = Buffer.from(readFileSync(ca, 'utf8').trim() + '\n').toString('base64');
    expect(withCa.clusters[0]!.cluster).toHaveProperty('certificate-authority-data', data);
    expect(withCa.users[0]!.user).toMatchObject({
      'client-certificate': join(process.cwd(), 'a'),
      'client-key': join(process.cwd(), 'b'),
    });
    const withToken = await one([], { CULVERT_USER_TOKEN: 'abc' });
    expect(withToken.users[0]!.user).toMatchObject({ token: 'abc' });
    const withExec = await one(['--exec-arg=--managed-serviceaccount=reader']);
    expect(withExec.users[0]!.user).toMatchObject({
      exec: {
        apiVersion: 'client.authentication.k8s.io/v1',
        command: 'culvert',
        args: ['credential', '--managed-serviceaccount=reader'],
        provideClusterInfo: true,
        interactiveMode: 'Never',
      },
    });
    const withPath = await one(['--exec-arg=--managed-serviceaccount=r', '--exec-command=bin/c']);
    expect(withPath.users[0]!.user).toMatchObject({
      exec: { command: join(process.cwd(), 'bin/c') },
    });
    const proxied = ['--form', 'proxy', '--cluster-ca-file', ca, '--user-token-file', 't'];
    const throughProxy = await one(proxied);
    expect(throughProxy.clusters[0]!.cluster).toMatchObject({
      server: 'https://c1',
      'certificate-authority-data': data,
    });
  });

  it('culvert kubeconfig accepts an existing user only if the kubeconfig has it', async () => {
    const args = ['--cluster', 'c1', '--user', 'ann', '--output', config];
    expect((await run(args)).stderr).toContain(`--user=ann is not in ${config}`);
    writeFileSync(config, JSON.stringify({ users: [{ name: 'ann', user: { token: 'x' } }] }));
    expect(await run(args)).toMatchObject({ code: 0 });
    expect(read(config).contexts[0]!.context).toMatchObject({ user: 'ann', cluster: 'c1' });
    expect(read(config).users).toHaveLength(1);
  });

  it.each([
    [['--cluster', 'c1'], 'no user is chosen: give one of --user'],
    [
      ['--user', 'a', '--user-token-file', 'b'],
      '--user and --user-token-file name different users',
    ],
    [['--user-certificate-file', 'a'], '--user-certificate-file needs --user-key-file as well'],
    [['--user', 'a', '--cluster', 'c1', '--prune'], '--prune needs the list of the hub'],
    [['--user', 'a', '--stdout', '--dry-run'], '--stdout changes no file, so --dry-run'],
    [['--user', 'a', '--context-name', 'x'], '--context-name needs {cluster}'],
    [['--user', 'a', '--cluster-ca-file', 'x'], '--cluster-ca-file is for --form proxy'],
  ])('culvert kubeconfig refuses the options %j', async (args, problem) => {
    const { code, stderr } = await run(args);
    expect(code).toBe(2);
    expect(stderr).toContain(problem);
  });

  it.each([
    ['http://proxy.example.com', 'path', 'would send tokens unencrypted'],
    ['socks5://proxy.example.com', 'path', 'is a proxy, add --form proxy'],
    ['https://10.0.0.1:9092', 'host', 'is an address, but --form host needs a name'],
    ['https://proxy.example.com/x', 'host', 'has a path, but with --form host it has none'],
    ['http://127.0.0.1:8090/x', 'proxy', 'is a proxy, remove the path'],
  ])('culvert kubeconfig refuses %s with --form %s', async (address, form, problem) => {
    const args = ['--url', address, '--form', form, '--cluster', 'c1', '--user', 'a'];
    const { code, stderr } = await cli(['kubeconfig', ...args]);
    expect(code).toBe(2);
    expect(stderr).toContain(problem);
  });
});

describe('the clusters of a hub', () => {
  const managedCluster = (name: string, hubAcceptsClient: boolean, labels = {}) => ({
    apiVersion: 'cluster.open-cluster-management.io/v1',
    kind: 'ManagedCluster',
    metadata: { name, labels },
    spec: { hubAcceptsClient },
  });
  const { signal } = new AbortController();

  it('The clusters of a hub are the accepted ones with the labels, and pruning spares the others', async () => {
    const hub = new MemoryKubeApi({ kinds: ocmKinds });
    for (const cluster of [
      managedCluster('c2', true, { env: 'prod' }),
      managedCluster('c1', true, { env: 'prod' }),
      managedCluster('c3', true, { env: 'test' }),
      managedCluster('c4', false, { env: 'prod' }),
    ]) {
      await hub.create(cluster, { signal });
    }
    const { chosen, all } = await listHubClusters(hub, 'env=prod');
    expect(chosen.map(({ name }) => name)).toEqual(['c1', 'c2']);
    expect([...all].toSorted()).toEqual(['c1', 'c2', 'c3', 'c4']);
    expect((await listHubClusters(hub, undefined)).chosen).toHaveLength(3);
  });
});
