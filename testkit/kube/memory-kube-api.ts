import type {
  ApplyOptions,
  CallOptions,
  DeleteOptions,
  KubeApi,
  KubeCollection,
  KubeRef,
  ListOptions,
  ListPage,
  NewKubeObject,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from '../../src/kube/client/kube-api.ts';
import type { KubeObject } from '../../src/kube/client/kube-object.ts';
import { refOf } from '../../src/kube/client/kube-ref.ts';
import {
  applyFields,
  mergePatched,
  ownersAfterUpdate,
  type FieldOwners,
} from './memory-kube/field-owners.ts';
import { builtInKinds, kindsOf, type MemoryKind } from './memory-kube/kinds.ts';
import { complete, isSame, ownedPart, partOf, withTree } from './memory-kube/object-parts.ts';
import { checkVersions, refused, tooOld } from './memory-kube/refusal.ts';
import { matcherOf } from './memory-kube/selectors.ts';
import {
  inCollection,
  kindKey,
  objectKey,
  Store,
  type Happened,
  type Stored,
} from './memory-kube/store.ts';

export { ocmKinds, type MemoryKind } from './memory-kube/kinds.ts';

/** A call that was made, for tests that count or forbid some. */
export interface MemoryCall {
  readonly verb: 'get' | 'list' | 'watch' | 'apply' | 'create' | 'update' | 'patch' | 'delete';
  readonly kind: string;
  /** Undefined: the whole collection. */
  readonly name: string | undefined;
  readonly namespace: string | undefined;
  readonly subresource: string | undefined;
}

export interface MemoryKubeApiOptions {
  /**
   * Besides those that every API server has, and those of CustomResourceDefinitions that are
   * created.
   */
  readonly kinds?: readonly MemoryKind[];
  /** Default `culvert-addon`. */
  readonly fieldManager?: string;
  /** Default: `default` and `kube-system`. */
  readonly namespaces?: readonly string[];
  /** Called before each call. An error that it returns is thrown instead of the call. */
  readonly intercept?: (call: MemoryCall) => Error | undefined;
}

const validName = /^[a-z0-9]([-a-z0-9.:]*[a-z0-9])?$/;

/**
 * An API server without a server, which passes the contract of the real one. Not here: validation
 * of anything but names, defaults, lists merged by key under server-side apply, garbage collection,
 * admission.
 */
export class MemoryKubeApi implements KubeApi {
  readonly #store: Store;
  readonly #manager: string;
  readonly #intercept: (call: MemoryCall) => Error | undefined;
  readonly calls: MemoryCall[] = [];
  #isAway = false;
  #endings = 0;

  constructor(options: MemoryKubeApiOptions = {}, store = new Store()) {
    this.#store = store;
    this.#manager = options.fieldManager ?? 'culvert-addon';
    this.#intercept = options.intercept ?? (() => undefined);
    for (const kind of [...builtInKinds, ...(options.kinds ?? [])]) {
      store.kinds.set(kindKey(kind), kind);
    }
    for (const name of options.namespaces ?? ['default', 'kube-system']) {
      if (!store.objects.has(objectKey({ apiVersion: 'v1', kind: 'Namespace', name }))) {
        this.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
      }
    }
  }

  /** The same objects under another field manager. */
  as(fieldManager: string): MemoryKubeApi {
    return new MemoryKubeApi({ fieldManager, namespaces: [] }, this.#store);
  }

  /** Stores an object as it is, status included: how a test sets the stage. */
  put(object: KubeObject, owner = 'test'): KubeObject {
    const key = objectKey(refOf(object));
    const owners = ownersAfterUpdate(new Map(), {}, ownedPart(object), owner);
    return this.#write(key, {
      object: complete(object, this.#store.objects.get(key)?.object),
      owners,
    });
  }

  /** The stored object, without a call. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as `get` has it
  peek<T extends KubeObject = KubeObject>(ref: KubeRef): T | undefined {
    return this.#store.objects.get(objectKey(ref))?.object as T | undefined;
  }

  /** Everything that is stored, without a call. */
  all(): readonly KubeObject[] {
    return Array.from(this.#store.objects.values(), ({ object }) => object);
  }

  /** Every call fails with `unavailable`, and every watch ends so, until `comeBack`. */
  goAway(): void {
    this.#isAway = true;
    this.#wake();
  }

  comeBack(): void {
    this.#isAway = false;
  }

  /** Ends every watch in order, as a server does after a while. */
  endWatches(): void {
    this.#endings++;
    this.#wake();
  }

  /**
   * Remembers what is stored. @returns puts it back, versions included, as a restored backup does
   */
  backUp(): () => void {
    const store = this.#store;
    const objects = new Map(store.objects);
    const { version } = store;
    return () => {
      store.objects.clear();
      for (const [key, stored] of objects) store.objects.set(key, stored);
      store.version = version;
      store.happened.length = 0;
    };
  }

  /** Forgets old changes. A watch that continues from an older version gets `gone`. */
  compact(): void {
    this.#store.oldestVersion = this.#store.version;
    this.#store.happened.length = 0;
  }

  async get<T extends KubeObject = KubeObject>(ref: KubeRef, options: CallOptions): Promise<T> {
    await this.#begin('get', ref, options);
    return this.#existing(ref, 'get').object as T;
  }

  async list<T extends KubeObject = KubeObject>(
    collection: KubeCollection,
    options: ListOptions,
  ): Promise<ListPage<T>> {
    await this.#begin('list', collection, options);
    const { limit, continueToken } = options;
    const [from = 0, version = this.#store.version] = (continueToken ?? '')
      .split('@')
      .filter((part) => part !== '')
      .map(Number);
    if (version < this.#store.oldestVersion) {
      throw refused('gone', 'list', collection, 'the continue token is too old');
    }
    const all = this.#in(collection).filter(matcherOf(options)) as unknown as T[];
    const upTo = limit === undefined ? all.length : from + limit;
    const next = upTo < all.length ? `${upTo}@${version}` : undefined;
    const resourceVersion = String(version);
    return { items: all.slice(from, upTo), resourceVersion, continueToken: next };
  }

  async *watch<T extends KubeObject = KubeObject>(
    collection: KubeCollection,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    await this.#begin('watch', collection, options);
    const matches = matcherOf(options);
    const isIn = inCollection(collection);
    let version = Number(options.resourceVersion);
    if (version < this.#store.oldestVersion) throw tooOld(collection);
    using wakes = this.#wakes(options);
    const endings = this.#endings;
    for (;;) {
      const waiting = wakes.next();
      for (const { version: at, old, now } of [...this.#store.happened]) {
        if (at <= version) continue;
        version = at;
        const was = old !== undefined && isIn(old) && matches(old);
        const is = now !== undefined && isIn(now) && matches(now);
        const gone = { ...(now ?? old!) } as T;
        if (is) yield { type: was ? 'modified' : 'added', object: now as T };
        else if (was) yield { type: 'deleted', object: gone };
      }
      options.signal.throwIfAborted();
      if (this.#isAway) throw refused('unavailable', 'watch', collection, 'it is away');
      if (version < this.#store.oldestVersion) throw tooOld(collection);
      if (this.#endings !== endings || (await waiting) === 'timeout') {
        yield { type: 'bookmark', resourceVersion: String(this.#store.version) };
        return;
      }
    }
  }

  async apply<T extends KubeObject = KubeObject>(
    object: KubeObject,
    options: ApplyOptions,
  ): Promise<T> {
    const ref = refOf(object);
    const kind = await this.#begin('apply', ref, options);
    const key = objectKey(ref);
    const stored = this.#store.objects.get(key);
    if (stored === undefined && options.subresource !== undefined) {
      throw refused('not_found', 'apply', ref, 'it is not there');
    }
    if (stored !== undefined) checkVersions(object, stored.object, 'apply');
    else if (object.metadata.uid !== undefined) {
      throw refused('conflict', 'apply', ref, 'its uid is of an object that is gone');
    } else this.#checkNew(ref, 'apply');
    const manager = this.#manager + (options.subresource ?? '');
    const wanted = ownedPart(partOf(object, kind, options.subresource));
    const before = stored?.object ?? { ...object, metadata: { name: ref.name } };
    const owners: FieldOwners = stored?.owners ?? new Map();
    const base = stored === undefined ? {} : ownedPart(before);
    const { tree, owners: next, conflicts } = applyFields(base, owners, wanted, manager);
    const [conflict] = conflicts;
    if (conflict !== undefined && !options.force) {
      const reason = `conflict with "${conflict.manager}": ${conflict.field}`;
      throw refused('conflict', 'apply', ref, reason);
    }
    return this.#change(key, withTree(before, ref, tree), next, options) as T;
  }

  async create<T extends KubeObject = KubeObject>(
    object: NewKubeObject | KubeObject,
    options: WriteOptions,
  ): Promise<T> {
    const { metadata = {} } = object;
    const generated = 'generateName' in metadata ? `${metadata.generateName}x` : '';
    const name = metadata.name ?? generated + String(this.#store.version);
    const given = { ...object, metadata: { ...metadata, name } } as KubeObject;
    const ref = refOf(given);
    const kind = await this.#begin('create', ref, options);
    if (this.#store.objects.has(objectKey(ref))) {
      throw refused('already_exists', 'create', ref, 'it already exists');
    }
    this.#checkNew(ref, 'create');
    const own = partOf(given, kind, undefined);
    const owners = ownersAfterUpdate(new Map(), {}, ownedPart(own), this.#manager);
    return this.#change(objectKey(ref), own, owners, options) as T;
  }

  async createSubresource<T extends NewKubeObject | KubeObject = KubeObject>(
    ref: KubeRef,
    subresource: string,
    object: NewKubeObject | KubeObject,
    options: CallOptions,
  ): Promise<T> {
    await this.#begin('create', ref, { ...options, subresource });
    this.#existing(ref, 'create');
    return object as unknown as T;
  }

  async update<T extends KubeObject = KubeObject>(
    object: KubeObject,
    options: WriteOptions,
  ): Promise<T> {
    const ref = refOf(object);
    const kind = await this.#begin('update', ref, options);
    const stored = this.#existing(ref, 'update');
    checkVersions(object, stored.object, 'update');
    return this.#replace(stored, partOf(object, kind, options.subresource), kind, options) as T;
  }

  async patch<T extends KubeObject = KubeObject>(
    ref: KubeRef,
    mergePatch: Readonly<Record<string, unknown>>,
    options: WriteOptions,
  ): Promise<T> {
    const kind = await this.#begin('patch', ref, options);
    const stored = this.#existing(ref, 'patch');
    const merged = mergePatched(stored.object, mergePatch) as KubeObject;
    checkVersions(merged, stored.object, 'patch');
    return this.#replace(stored, partOf(merged, kind, options.subresource), kind, options) as T;
  }

  async delete(ref: KubeRef, options: DeleteOptions): Promise<boolean> {
    await this.#begin('delete', ref, options);
    const key = objectKey(ref);
    const stored = this.#store.objects.get(key);
    if (stored === undefined) return false;
    const { object, owners } = stored;
    if (options.uid !== undefined && options.uid !== object.metadata.uid) {
      throw refused('conflict', 'delete', ref, 'the uid is another one');
    }
    if (options.dryRun) return true;
    if ((object.metadata.finalizers ?? []).length > 0) {
      const deletionTimestamp = object.metadata.deletionTimestamp ?? new Date().toISOString();
      const metadata = { ...object.metadata, deletionTimestamp };
      this.#write(key, { object: { ...object, metadata }, owners });
      return true;
    }
    this.#remove(key);
    return true;
  }

  async serves(
    kind: Pick<KubeCollection, 'apiVersion' | 'kind'>,
    { signal }: CallOptions,
  ): Promise<boolean> {
    signal.throwIfAborted();
    if (this.#isAway) throw refused('unavailable', 'discover', kind, 'it is away');
    return Promise.resolve(this.#store.kinds.has(kindKey(kind)));
  }

  close(): void {}

  async #begin(
    verb: MemoryCall['verb'],
    ref: KubeCollection & { readonly name?: string },
    {
      signal,
      subresource,
    }: { readonly signal: AbortSignal; readonly subresource?: string | undefined },
  ): Promise<MemoryKind> {
    signal.throwIfAborted();
    // A real one never answers in the same turn.
    await Promise.resolve();
    const { kind, namespace, name } = ref;
    const call: MemoryCall = { verb, kind, namespace, name, subresource };
    this.calls.push(call);
    if (this.#isAway) throw refused('unavailable', verb, ref, 'it is away');
    const instead = this.#intercept(call);
    if (instead !== undefined) throw instead;
    const known = this.#store.kinds.get(kindKey(ref));
    if (known === undefined) throw refused('not_served', verb, ref, 'this kind is not served');
    if (!known.namespaced && namespace !== undefined) {
      throw refused('invalid', verb, ref, `${kind}s are in no namespace`);
    }
    if (known.namespaced && namespace === undefined && name !== undefined) {
      throw refused('invalid', verb, ref, `${kind}s are in a namespace`);
    }
    return known;
  }

  #checkNew(ref: KubeRef, verb: string): void {
    if (!validName.test(ref.name)) throw refused('invalid', verb, ref, 'metadata.name is invalid');
    if (ref.namespace === undefined) return;
    const home = { apiVersion: 'v1', kind: 'Namespace', name: ref.namespace };
    if (this.#store.objects.has(objectKey(home))) return;
    throw refused('not_found', verb, ref, `namespaces "${ref.namespace}" not found`);
  }

  #existing(ref: KubeRef, verb: string): Stored {
    const stored = this.#store.objects.get(objectKey(ref));
    if (stored === undefined) throw refused('not_found', verb, ref, 'it is not there');
    return stored;
  }

  #in(collection: KubeCollection): readonly KubeObject[] {
    const objects = Array.from(this.#store.objects, ([key, { object }]) => ({ key, object }));
    return objects
      .filter(({ object }) => inCollection(collection)(object))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map(({ object }) => object);
  }

  #replace(stored: Stored, given: KubeObject, kind: MemoryKind, options: WriteOptions): KubeObject {
    const ref = refOf(stored.object);
    const { status } = stored.object;
    let object = given;
    // A CSR's approval is in its status.
    if (options.subresource !== undefined) object = { ...stored.object, status: given['status'] };
    else if (kind.hasStatus && status !== undefined) object = { ...given, status };
    const before = ownedPart(stored.object);
    const owners = ownersAfterUpdate(stored.owners, before, ownedPart(object), this.#manager);
    return this.#change(objectKey(ref), object, owners, options);
  }

  /** Stores what a write made of an object, unless it is a dry run or nothing has changed. */
  #change(key: string, given: KubeObject, owners: FieldOwners, options: WriteOptions): KubeObject {
    const stored = this.#store.objects.get(key);
    const object = complete(given, stored?.object);
    if (options.dryRun) return object;
    if (stored !== undefined && isSame(stored.object, object)) {
      this.#store.objects.set(key, { object: stored.object, owners });
      return stored.object;
    }
    const { deletionTimestamp, finalizers = [] } = object.metadata;
    const written = this.#write(key, { object, owners });
    if (deletionTimestamp !== undefined && finalizers.length === 0) this.#remove(key);
    return written;
  }

  #write(key: string, { object, owners }: Stored): KubeObject {
    const old = this.#store.objects.get(key)?.object;
    const resourceVersion = String(++this.#store.version);
    const now: KubeObject = { ...object, metadata: { ...object.metadata, resourceVersion } };
    this.#store.objects.set(key, { object: now, owners });
    if (now.kind === 'CustomResourceDefinition') {
      for (const kind of kindsOf(now)) this.#store.kinds.set(kindKey(kind), kind);
    }
    this.#happened({ version: this.#store.version, old, now });
    return now;
  }

  #remove(key: string): void {
    const stored = this.#store.objects.get(key);
    if (stored === undefined) return;
    this.#store.objects.delete(key);
    const version = ++this.#store.version;
    const metadata = { ...stored.object.metadata, resourceVersion: String(version) };
    this.#happened({ version, old: { ...stored.object, metadata }, now: undefined });
    if (stored.object.kind !== 'Namespace') return;
    const inside = [...this.#store.objects].filter(
      ([, { object }]) => object.metadata.namespace === stored.object.metadata.name,
    );
    for (const [inner] of inside) this.#remove(inner);
  }

  #happened(what: Happened): void {
    this.#store.happened.push(what);
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#store.watchers) wake();
  }

  /**
   * Something may have happened, the watch is over, or the signal aborted: whichever comes first
   * after `next` was called.
   */
  #wakes({ signal, timeoutMs }: WatchOptions) {
    let turn = Promise.withResolvers<'event' | 'timeout'>();
    let isOver = false;
    const wake = () => turn.resolve(isOver ? 'timeout' : 'event');
    const end = () => {
      isOver = true;
      wake();
    };
    const timer = timeoutMs === undefined ? undefined : setTimeout(end, timeoutMs);
    this.#store.watchers.add(wake);
    signal.addEventListener('abort', wake);
    return {
      next: () => {
        turn = Promise.withResolvers();
        if (isOver) wake();
        return turn.promise;
      },
      [Symbol.dispose]: () => {
        clearTimeout(timer);
        this.#store.watchers.delete(wake);
        signal.removeEventListener('abort', wake);
      },
    };
  }
}
