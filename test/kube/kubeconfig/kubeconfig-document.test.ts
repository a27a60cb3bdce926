import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { entriesFor } from '../../../src/kube/kubeconfig/cluster-entries.ts';
import { KubeconfigDocument } from '../../../src/kube/kubeconfig/kubeconfig-document.ts';
import { mergeEntries } from '../../../src/kube/kubeconfig/merge-entries.ts';

const url = new URL('https://proxy.example.com:9092');
const gateway = 'https://proxy.example.com:9092';
const entriesOf = (
  cluster: string,
  { context = cluster, token = 't1', form = 'path' as const } = {},
) =>
  entriesFor(
    { form, url, ca: undefined },
    { cluster, context, user: { kind: 'written', fields: { token } }, clusterCa: undefined },
  );

interface Parsed {
  readonly 'current-context': string;
  readonly clusters: readonly { readonly name: string; readonly cluster: object }[];
  readonly users: readonly { readonly name: string; readonly user: object }[];
  readonly contexts: readonly { readonly name: string; readonly context: object }[];
}
const parsed = (document: KubeconfigDocument) => parse(document.text) as Parsed;

/** Merges into one file and returns its document. */
function merge(
  text: string,
  entries: Parameters<typeof mergeEntries>[2],
  options: Partial<Parameters<typeof mergeEntries>[3]> = {},
) {
  const document = new KubeconfigDocument('config', text);
  const merged = mergeEntries([document], document, entries, { force: false, ...options });
  return { document, ...merged };
}

const written = `# mine
apiVersion: v1
kind: Config
clusters:
- name: kind-a # the local one
  cluster: {server: "https://127.0.0.1:6443"}
contexts:
- name: kind-a
  context: {cluster: kind-a, user: kind-a, namespace: dev}
users:
- name: kind-a
  user: {token: secret, futureField: {a: 1}}
current-context: kind-a
futureTopLevel: [1, 2]
`;

describe('a kubeconfig that culvert writes into', () => {
  it('A kubeconfig that did not exist gets a context, a cluster and a user of the same name', () => {
    const { document, changes } = merge('', entriesOf('prod-1'));
    expect(changes).toEqual([{ context: 'prod-1', change: 'added' }]);
    const extensions = [{ name: 'culvert', extension: { cluster: 'prod-1', gateway } }];
    expect(parsed(document)).toEqual({
      apiVersion: 'v1',
      kind: 'Config',
      preferences: {},
      'current-context': '',
      clusters: [
        {
          name: 'prod-1',
          cluster: {
            server: `${gateway}/prod-1`,
            extensions: [
              ...extensions,
              {
                name: 'client.authentication.k8s.io/exec',
                extension: { clusterName: 'prod-1' },
              },
            ],
          },
        },
      ],
      users: [{ name: 'prod-1', user: { token: 't1', extensions } }],
      contexts: [{ name: 'prod-1', context: { cluster: 'prod-1', user: 'prod-1', extensions } }],
    });
  });

  it('A kubeconfig keeps its comments, its other entries and fields that nobody knows', () => {
    const { document } = merge(written, entriesOf('prod-1'));
    const lines = document.text.split('\n');
    for (const line of written.split('\n')) {
      const bare = (text: string) => text.replaceAll(/[{} ]/g, '');
      expect(lines.map(bare)).toContain(bare(line));
    }
    expect(parsed(document).contexts.map(({ name }) => name)).toEqual(['kind-a', 'prod-1']);
  });

  it('A kubeconfig is unchanged when the same contexts are written again', () => {
    const first = merge(written, entriesOf('prod-1')).document.text;
    const again = merge(first, entriesOf('prod-1'));
    expect(again.changes).toEqual([{ context: 'prod-1', change: 'unchanged' }]);
    expect(again.document.text).toBe(first);
  });

  it('A kubeconfig keeps fields that a user has added to an entry of culvert, and loses outdated ones', () => {
    const first = parsed(merge('', entriesOf('prod-1')).document);
    Object.assign(first.contexts[0]!.context, { namespace: 'shop' });
    Object.assign(first.clusters[0]!.cluster, { 'certificate-authority-data': 'b2xk' });
    const { document, changes } = merge(
      JSON.stringify(first),
      entriesOf('prod-1', { token: 't2' }),
    );
    expect(changes).toEqual([{ context: 'prod-1', change: 'updated' }]);
    const after = parsed(document);
    expect(after.contexts[0]!.context).toMatchObject({ namespace: 'shop', cluster: 'prod-1' });
    expect(after.clusters[0]!.cluster).not.toHaveProperty('certificate-authority-data');
    expect(after.users[0]!.user).toMatchObject({ token: 't2' });
  });

  it('A kubeconfig keeps an entry that culvert did not write, unless it is forced', () => {
    const { refused } = merge(written, entriesOf('kind-a'));
    expect(refused).toEqual([
      'the cluster kind-a in config',
      'the user kind-a in config',
      'the context kind-a in config',
    ]);
    const { document, refused: none } = merge(written, entriesOf('kind-a'), { force: true });
    expect(none).toEqual([]);
    expect(parsed(document).clusters[0]!.cluster).toMatchObject({ server: `${gateway}/kind-a` });
    expect(parsed(document).contexts[0]!.context).toMatchObject({ namespace: 'dev' });
  });

  it('A name that YAML 1.1 reads as another type is written as text', () => {
    const { document } = merge('', entriesOf('on', { context: '1_000' }));
    expect(document.text).toContain('cluster: "on"');
    expect(document.text).toContain('name: "1_000"');
  });

  it('Pruning removes the contexts of clusters that are gone, and only those of the same gateway', () => {
    const other = entriesFor(
      { form: 'path', url: new URL('https://other.example.com'), ca: undefined },
      {
        cluster: 'gone',
        context: 'other',
        user: { kind: 'existing', name: 'kind-a' },
        clusterCa: undefined,
      },
    );
    const before = merge(written, [...entriesOf('gone'), ...entriesOf('prod-1'), ...other]);
    const text = before.document.text.replace('current-context: kind-a', 'current-context: gone');
    const { document, changes } = merge(text, entriesOf('prod-1'), {
      prune: { gateway, clusters: new Set(['prod-1', 'kind-a']) },
    });
    expect(changes).toEqual([
      { context: 'prod-1', change: 'unchanged' },
      { context: 'gone', change: 'removed' },
    ]);
    const after = parsed(document);
    expect(after.contexts.map(({ name }) => name)).toEqual(['kind-a', 'prod-1', 'other']);
    expect(after.users.map(({ name }) => name)).toEqual(['kind-a', 'prod-1']);
    expect(after['current-context']).toBe('');
  });

  it('An entry is changed in the first file of KUBECONFIG that has it', () => {
    const first = new KubeconfigDocument('first', '');
    const second = new KubeconfigDocument('second', merge('', entriesOf('prod-1')).document.text);
    const entries = [...entriesOf('prod-1', { token: 't2' }), ...entriesOf('prod-2')];
    mergeEntries([first, second], first, entries, { force: false });
    expect(parsed(first).contexts.map(({ name }) => name)).toEqual(['prod-2']);
    expect(parsed(second).users[0]!.user).toMatchObject({ token: 't2' });
  });

  it.each([
    ['a: [', 'is not YAML with one document'],
    ['a: 1\n---\nb: 2\n', 'is not YAML with one document'],
    ['just text', 'is not YAML with one document'],
    ['clusters: {a: secret}', 'clusters in config is no list'],
  ])('The file %j is refused as a kubeconfig without a quotation', (text, message) => {
    expect(() => new KubeconfigDocument('config', text)).toThrow(message);
    expect(() => new KubeconfigDocument('config', text)).not.toThrow('secret');
  });
});

describe('the addresses of a cluster in a kubeconfig', () => {
  const clusterOf = (form: 'path' | 'host' | 'proxy', address: string) => {
    const [cluster] = entriesFor(
      { form, url: new URL(address), ca: 'GATEWAY\n' },
      {
        cluster: 'c1',
        context: 'c1',
        user: { kind: 'existing', name: 'u' },
        clusterCa: 'CLUSTER\n',
      },
    );
    return cluster!.fields;
  };
  const base64 = (text: string) => Buffer.from(text).toString('base64');

  it('A context in path form has the name of the cluster as the last part of the path', () => {
    expect(clusterOf('path', 'https://proxy.example.com:9092/base/')).toEqual({
      server: 'https://proxy.example.com:9092/base/c1',
      'certificate-authority-data': base64('GATEWAY\n'),
    });
  });

  it('A context in host form has the name of the cluster before the host', () => {
    expect(clusterOf('host', 'https://proxy.example.com:9092')).toEqual({
      server: 'https://c1.proxy.example.com:9092',
      'certificate-authority-data': base64('GATEWAY\n'),
    });
  });

  it('A context in proxy form trusts the CAs of the cluster and of the proxy', () => {
    expect(clusterOf('proxy', 'socks5://127.0.0.1:1080')).toEqual({
      server: 'https://c1',
      'proxy-url': 'socks5://127.0.0.1:1080',
      'tls-server-name': 'kubernetes.default.svc',
      'certificate-authority-data': base64('CLUSTER\nGATEWAY\n'),
    });
  });
});
