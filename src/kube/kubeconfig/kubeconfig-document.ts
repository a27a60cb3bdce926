import { isDeepStrictEqual } from 'node:util';
import { type Document, isMap, isSeq, parseDocument, type YAMLMap, type YAMLSeq } from 'yaml';
import { KubeconfigWriteError } from './kubeconfig-error.ts';

export type EntryList = 'clusters' | 'users' | 'contexts';
const entryLists: readonly EntryList[] = ['contexts', 'clusters', 'users'];

/** What an entry that we wrote says about its origin. */
export interface Marker {
  /** The cluster that it leads to. */
  readonly cluster: string;
  /** The URL of the gateway or bridge. */
  readonly gateway: string;
}

/** An entry of a kubeconfig, as it should be. */
export interface Entry {
  readonly list: EntryList;
  readonly name: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly marker: Marker;
}

/** The key in a list's items, and the fields that we own. Other fields are a user's own. */
const shapes: Readonly<Record<EntryList, { readonly key: string; readonly owned: string[] }>> = {
  clusters: {
    key: 'cluster',
    owned: [
      ...['server', 'proxy-url', 'tls-server-name', 'insecure-skip-tls-verify'],
      ...['certificate-authority', 'certificate-authority-data'],
    ],
  },
  users: {
    key: 'user',
    owned: [
      ...['token', 'tokenFile', 'exec', 'auth-provider', 'username', 'password'],
      ...['client-certificate', 'client-certificate-data', 'client-key', 'client-key-data'],
    ],
  },
  contexts: { key: 'context', owned: ['cluster', 'user'] },
};

/** Programs may add extensions to each entry. client-go keeps those that it does not know. */
const markerExtension = 'culvert';
/** client-go passes this extension of a cluster to exec plugins. */
const execExtension = 'client.authentication.k8s.io/exec';

/** The text of a kubeconfig that is edited in place, so that comments and unknown fields remain. */
export class KubeconfigDocument {
  readonly path: string;
  readonly #document: Document;

  /**
   * @param text empty for a file that does not exist
   * @throws KubeconfigWriteError it is not YAML, or not a kubeconfig. The message quotes nothing of
   *   the file, because it may hold keys.
   */
  constructor(path: string, text: string) {
    this.path = path;
    const isEmpty = text.trim() === '';
    // Kubernetes reads YAML 1.1, in which a bare word such as `on` is not text.
    this.#document = parseDocument(isEmpty ? emptyKubeconfig : text.replace(/^\uFEFF/, ''), {
      version: '1.1',
    });
    if (this.#document.errors.length > 0 || !isMap(this.#document.contents)) {
      throw new KubeconfigWriteError(`${path} is not YAML with one document, so it is not changed`);
    }
    for (const list of entryLists) {
      const value: unknown = this.#document.get(list);
      if (value === undefined || value === null || isSeq(value)) continue;
      throw new KubeconfigWriteError(`${list} in ${path} is no list, so the file is not changed`);
    }
  }

  /** The text with all changes. */
  get text(): string {
    return this.#document.toString({ lineWidth: 0, indentSeq: false });
  }

  get currentContext(): string | undefined {
    const name: unknown = this.#document.get('current-context');
    return typeof name === 'string' ? name : undefined;
  }

  clearCurrentContext(): void {
    this.#document.set('current-context', '');
  }

  has(list: EntryList, name: string): boolean {
    return this.#find(list, name) !== undefined;
  }

  /** Undefined: there is no such entry, or we did not write it. */
  markerOf(list: EntryList, name: string): Marker | undefined {
    const item = this.#find(list, name);
    return item === undefined ? undefined : readMarker(this.#json(item), shapes[list].key);
  }

  /** The names of the entries that we wrote, with their markers. */
  marked(list: EntryList): readonly { readonly name: string; readonly marker: Marker }[] {
    return this.#items(list).flatMap((item) => {
      const name: unknown = item.get('name');
      const marker = readMarker(this.#json(item), shapes[list].key);
      return typeof name === 'string' && marker !== undefined ? [{ name, marker }] : [];
    });
  }

  /**
   * Adds the entry, or sets our fields in the existing entry of its name. A user's own fields, such
   * as the namespace of a context, remain.
   */
  set({ list, name, fields, marker }: Entry): 'added' | 'updated' | 'unchanged' {
    const { key, owned } = shapes[list];
    const item = this.#find(list, name);
    if (item === undefined) {
      const extensions = withExtensions([], list, marker);
      this.#listNode(list).add(
        this.#document.createNode({ name, [key]: { ...fields, extensions } }),
      );
      return 'added';
    }
    const existing = item.get(key, true);
    const before = isMap(existing) ? (this.#json(existing) as Record<string, unknown>) : {};
    const after = { ...before, ...fields };
    for (const field of owned) if (!(field in fields)) delete after[field];
    after['extensions'] = withExtensions(before['extensions'], list, marker);
    if (isDeepStrictEqual(before, after)) return 'unchanged';
    if (!isMap(existing)) {
      item.set(key, this.#document.createNode(after));
      return 'updated';
    }
    for (const field of Object.keys(before)) if (!(field in after)) existing.delete(field);
    for (const [field, value] of Object.entries(after)) {
      if (isDeepStrictEqual(before[field], value)) continue;
      existing.set(field, this.#document.createNode(value));
    }
    return 'updated';
  }

  remove(list: EntryList, name: string): void {
    const item = this.#find(list, name);
    if (item === undefined) return;
    const { items } = this.#listNode(list);
    items.splice(items.indexOf(item), 1);
  }

  #find(list: EntryList, name: string): YAMLMap | undefined {
    return this.#items(list).find((item) => item.get('name') === name);
  }

  #items(list: EntryList): readonly YAMLMap[] {
    const value: unknown = this.#document.get(list);
    return isSeq(value) ? value.items.filter((item) => isMap(item)) : [];
  }

  #listNode(list: EntryList): YAMLSeq {
    const value: unknown = this.#document.get(list);
    if (isSeq(value)) {
      // `contexts: []` would otherwise hold its first entry in brackets.
      if (value.items.length === 0) value.flow = false;
      return value;
    }
    this.#document.set(list, this.#document.createNode([]));
    const node = this.#document.get(list) as YAMLSeq;
    node.flow = false;
    return node;
  }

  #json(node: YAMLMap): unknown {
    return node.toJS(this.#document);
  }
}

const emptyKubeconfig = `apiVersion: v1
kind: Config
preferences: {}
clusters: []
contexts: []
users: []
current-context: ""
`;

function readMarker(item: unknown, key: string): Marker | undefined {
  const fields = (item as Readonly<Record<string, { readonly extensions?: unknown } | null>>)[key];
  const marker = extensionsIn(fields?.extensions).find(({ name }) => name === markerExtension);
  const { cluster, gateway } = (marker?.extension ?? {}) as Partial<Marker>;
  if (typeof cluster !== 'string' || typeof gateway !== 'string') return undefined;
  return { cluster, gateway };
}

interface Extension {
  readonly name: unknown;
  readonly extension: unknown;
}

const extensionsIn = (value: unknown): readonly Extension[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'object' && item !== null) : [];

/** The extensions of an entry, with ours in place of those of an earlier run. */
function withExtensions(existing: unknown, list: EntryList, marker: Marker): readonly Extension[] {
  const ours: readonly Extension[] = [
    { name: markerExtension, extension: { ...marker } },
    ...(list === 'clusters'
      ? [{ name: execExtension, extension: { clusterName: marker.cluster } }]
      : []),
  ];
  const names = ours.map(({ name }) => name);
  return [...extensionsIn(existing).filter(({ name }) => !names.includes(name as string)), ...ours];
}
