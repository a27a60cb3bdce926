import type { KubeObject, ObjectMeta } from './kube-object.ts';

/** All objects of one kind: in `namespace`, or in all namespaces and of cluster-scoped kinds where it is left out. */
export interface KubeCollection {
  /** `v1`, `apps/v1` */
  readonly apiVersion: string;
  /** `Secret`, `Deployment`; its resource path is discovered. */
  readonly kind: string;
  readonly namespace?: string | undefined;
}

/** One object. A `KubeObject`'s own `{ apiVersion, kind, namespace, name }` come by `refOf`. */
export interface KubeRef extends KubeCollection {
  readonly name: string;
}

/** An object that the server names or never stores (TokenReview, SubjectAccessReview, TokenRequest). */
export interface NewKubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: Partial<ObjectMeta> & { readonly generateName?: string };
  readonly [field: string]: unknown;
}

/** Any object, or the narrower type that the caller knows it to have. */
type Body = NewKubeObject | KubeObject;

export interface CallOptions {
  /** Aborting rejects with the signal's reason; what the server did by then stays done. */
  readonly signal: AbortSignal;
  /** For the whole call, in milliseconds (default 15_000). */
  readonly timeoutMs?: number | undefined;
}

export interface WriteOptions extends CallOptions {
  /** The server validates and defaults, and stores nothing. */
  readonly dryRun?: boolean | undefined;
  readonly subresource?: string | undefined;
}

export interface ApplyOptions extends WriteOptions {
  /** Takes fields over that another manager owns; without it that is a `conflict` which names field and manager. */
  readonly force: boolean;
}

export interface DeleteOptions extends CallOptions {
  /** Deletes only the object with this uid: another one of the same name is a `conflict`. */
  readonly uid?: string | undefined;
  /** What happens to the objects that it owns (default Background). */
  readonly propagation?: 'Background' | 'Foreground' | 'Orphan' | undefined;
  readonly dryRun?: boolean | undefined;
}

export interface Selectors {
  /** `a=b,c in (d,e),!f` */
  readonly labelSelector?: string | undefined;
  /** `metadata.name=x` */
  readonly fieldSelector?: string | undefined;
}

export interface ListOptions extends CallOptions, Selectors {
  /** How many objects a page may have (default: all in one). */
  readonly limit?: number | undefined;
  /** Goes on where the page before ended. */
  readonly continueToken?: string | undefined;
}

export interface ListPage<T extends KubeObject = KubeObject> {
  readonly items: readonly T[];
  /** Where a watch goes on from here, without a gap. */
  readonly resourceVersion: string;
  /** Undefined: this was the last page. */
  readonly continueToken: string | undefined;
}

export interface WatchOptions extends Selectors {
  /** Ends the watch: the iteration rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** What comes after this is told. */
  readonly resourceVersion: string;
  /** When the server ends the watch, in milliseconds (default 5 to 10 minutes, by chance). */
  readonly timeoutMs?: number | undefined;
}

export type WatchEvent<T extends KubeObject = KubeObject> =
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly object: T }
  /** Nothing happened up to here: a later watch may go on from this version. */
  | { readonly type: 'bookmark'; readonly resourceVersion: string };

/**
 * What we ask of an API server: a handful of generic verbs over objects named by apiVersion and kind. The contract suite is
 * test/contracts/kube-api.contract.ts.
 *
 * Every call may throw KubeError: `unauthorized`, `forbidden`, `unavailable` (no answer, or one that asks for patience: see
 * `retryAfterMs`), `timeout`, `bad_response`, and `not_served` where the server does not know the kind (a CRD that is not installed;
 * it is looked for again at the next call), `bad_config` where kubeconfig or ServiceAccount files cannot be read. Its sentence names verb and object. Codes named below are those that a caller
 * branches on. A type parameter is the caller's word for what the server sends; nothing is checked.
 */
export interface KubeApi {
  /** @throws KubeError `not_found` (see `find`) */
  get<T extends KubeObject = KubeObject>(ref: KubeRef, options: CallOptions): Promise<T>;

  /** One page; `listAll` gives all of them. @throws KubeError `gone` the continue token is too old: begin again */
  list<T extends KubeObject = KubeObject>(
    collection: KubeCollection,
    options: ListOptions,
  ): Promise<ListPage<T>>;

  /**
   * What happens after `resourceVersion`, with bookmarks. Ends every few minutes, by the server or because it
   * was silent for long; a watch that goes on from the last version loses nothing. A reader who stops iterating closes it.
   *
   * @throws KubeError `gone` the version is too old: list again
   */
  watch<T extends KubeObject = KubeObject>(
    collection: KubeCollection,
    options: WatchOptions,
  ): AsyncIterable<WatchEvent<T>>;

  /**
   * Server-side apply as this client's field manager: what is in `object` becomes so, what this manager applied earlier and is not in
   * it any more goes. `metadata.uid` and `metadata.resourceVersion`, where given, must be the stored ones; the uid also
   * keeps an object that is gone from being made again.
   *
   * @throws KubeError `conflict` fields of others, another version, or a uid where there is nothing; `invalid`, also of another uid;
   *   `not_found` for the status of an object that is not there
   */
  apply<T extends KubeObject = KubeObject>(object: KubeObject, options: ApplyOptions): Promise<T>;

  /** @throws KubeError `already_exists`, `invalid` */
  create<T extends KubeObject = KubeObject>(object: Body, options: WriteOptions): Promise<T>;

  /** POST to a subresource of `ref`: a TokenRequest to `token` of a ServiceAccount. @throws KubeError `not_found`, `invalid` */
  createSubresource<T extends Body = KubeObject>(
    ref: KubeRef,
    subresource: string,
    object: Body,
    options: CallOptions,
  ): Promise<T>;

  /**
   * Replaces the object, or one subresource of it (`approval` of a CSR, `status`). Whoever gives `metadata.resourceVersion` overwrites
   * nobody.
   *
   * @throws KubeError `not_found`, `conflict`, `invalid`
   */
  update<T extends KubeObject = KubeObject>(object: KubeObject, options: WriteOptions): Promise<T>;

  /** JSON merge patch (RFC 7386), for what apply cannot say: to take a finalizer away. @throws KubeError `not_found`, `conflict`, `invalid` */
  patch<T extends KubeObject = KubeObject>(
    ref: KubeRef,
    mergePatch: Readonly<Record<string, unknown>>,
    options: WriteOptions,
  ): Promise<T>;

  /** Idempotent: says whether there was anything. The object may stay for its finalizers. @throws KubeError `conflict` another uid */
  delete(ref: KubeRef, options: DeleteOptions): Promise<boolean>;

  /** Whether the server knows this kind in this version, asked anew where it did not. */
  serves(kind: Pick<KubeCollection, 'apiVersion' | 'kind'>, options: CallOptions): Promise<boolean>;

  /** Closes idle connections; calls that run are not touched. Idempotent. */
  close(): void;
}
