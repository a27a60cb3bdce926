import type { KubeObject, ObjectMeta } from './kube-object.ts';

/**
 * All objects of one kind in `namespace`. Without `namespace`: in all namespaces, or of a
 * cluster-scoped kind.
 */
export interface KubeCollection {
  /** `v1`, `apps/v1` */
  readonly apiVersion: string;
  /** `Secret`, `Deployment`. Its resource path is discovered. */
  readonly kind: string;
  readonly namespace?: string | undefined;
}

/** One object. `refOf` makes it from a `KubeObject`. */
export interface KubeRef extends KubeCollection {
  readonly name: string;
}

/**
 * An object that the server names or does not store (TokenReview, SubjectAccessReview,
 * TokenRequest).
 */
export interface NewKubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: Partial<ObjectMeta> & { readonly generateName?: string };
  readonly [field: string]: unknown;
}

/** Any object, or a narrower type of the caller. */
type Body = NewKubeObject | KubeObject;

export interface CallOptions {
  /** Aborting rejects with the signal's reason. Changes that the server has made remain. */
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
  /**
   * Takes over fields that another manager owns. Otherwise such a field is a `conflict` that names
   * field and manager.
   */
  readonly force: boolean;
}

export interface DeleteOptions extends CallOptions {
  /** Deletes only the object with this uid. Another object of the same name is a `conflict`. */
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
  /** The most objects of a page (default: all objects in one page). */
  readonly limit?: number | undefined;
  /** Continues where the previous page ended. */
  readonly continueToken?: string | undefined;
}

export interface ListPage<T extends KubeObject = KubeObject> {
  readonly items: readonly T[];
  /** A watch from this version continues without a gap. */
  readonly resourceVersion: string;
  /** Undefined: this was the last page. */
  readonly continueToken: string | undefined;
}

export interface WatchOptions extends Selectors {
  /** Ends the watch: the iteration rejects with the signal's reason. */
  readonly signal: AbortSignal;
  /** The watch tells changes after this version. */
  readonly resourceVersion: string;
  /**
   * When the server ends the watch, in milliseconds (default: a random time of 5 to 10 minutes).
   */
  readonly timeoutMs?: number | undefined;
}

export type WatchEvent<T extends KubeObject = KubeObject> =
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly object: T }
  /** All changes up to here have been told. A later watch can continue from this version. */
  | { readonly type: 'bookmark'; readonly resourceVersion: string };

/**
 * An API server, as a handful of generic verbs over objects named by apiVersion and kind. The
 * contract suite is test/contracts/kube-api.contract.ts.
 *
 * Every call can throw KubeError: `unauthorized`, `forbidden`, `unavailable` (no answer, or an
 * answer that asks for a later retry, see `retryAfterMs`), `timeout`, `bad_response`, `not_served`
 * if the server does not know the kind (its CRD is not installed; the next call looks for it
 * again), and `bad_config` if kubeconfig or ServiceAccount files cannot be read. Its message names
 * verb and object. The codes named below are the codes that callers branch on. A type parameter is
 * the caller's assumption about the answer and is not checked.
 */
export interface KubeApi {
  /** @throws KubeError `not_found` (see `find`) */
  get<T extends KubeObject = KubeObject>(ref: KubeRef, options: CallOptions): Promise<T>;

  /**
   * Returns one page. `listAll` returns all pages.
   *
   * @throws KubeError `gone` if the continue token is too old: begin again
   */
  list<T extends KubeObject = KubeObject>(
    collection: KubeCollection,
    options: ListOptions,
  ): Promise<ListPage<T>>;

  /**
   * Tells changes after `resourceVersion`, with bookmarks. Ends every few minutes, by the server or
   * after a long silence. A watch that continues from the last version loses nothing. A reader that
   * stops iterating closes the watch.
   *
   * @throws KubeError `gone` the version is too old: list again
   */
  watch<T extends KubeObject = KubeObject>(
    collection: KubeCollection,
    options: WatchOptions,
  ): AsyncIterable<WatchEvent<T>>;

  /**
   * Server-side apply as this client's field manager: sets the fields of `object`, and removes
   * fields that this manager applied earlier and that `object` no longer has. If `metadata.uid` or
   * `metadata.resourceVersion` are given, they must be the stored ones. With a uid, a deleted
   * object is not created again.
   *
   * @throws KubeError `conflict` for another manager's fields, another version, or a uid without an
   *   object; `invalid`, also for another uid; `not_found` for the status of a missing object
   */
  apply<T extends KubeObject = KubeObject>(object: KubeObject, options: ApplyOptions): Promise<T>;

  /** @throws KubeError `already_exists`, `invalid` */
  create<T extends KubeObject = KubeObject>(object: Body, options: WriteOptions): Promise<T>;

  /**
   * POST to a subresource of `ref`: a TokenRequest to `token` of a ServiceAccount.
   *
   * @throws KubeError `not_found`, `invalid`
   */
  createSubresource<T extends Body = KubeObject>(
    ref: KubeRef,
    subresource: string,
    object: Body,
    options: CallOptions,
  ): Promise<T>;

  /**
   * Replaces the object, or one of its subresources (`approval` of a CSR, `status`). With
   * `metadata.resourceVersion`, it overwrites no other writer's change.
   *
   * @throws KubeError `not_found`, `conflict`, `invalid`
   */
  update<T extends KubeObject = KubeObject>(object: KubeObject, options: WriteOptions): Promise<T>;

  /**
   * JSON merge patch (RFC 7386), for changes that apply cannot make, such as the removal of a
   * finalizer.
   *
   * @throws KubeError `not_found`, `conflict`, `invalid`
   */
  patch<T extends KubeObject = KubeObject>(
    ref: KubeRef,
    mergePatch: Readonly<Record<string, unknown>>,
    options: WriteOptions,
  ): Promise<T>;

  /**
   * Idempotent. Returns whether the object existed. It may stay until its finalizers are removed.
   *
   * @throws KubeError `conflict` for another uid
   */
  delete(ref: KubeRef, options: DeleteOptions): Promise<boolean>;

  /**
   * Whether the server knows this kind in this version. Asks again if it did not know the kind
   * before.
   */
  serves(kind: Pick<KubeCollection, 'apiVersion' | 'kind'>, options: CallOptions): Promise<boolean>;

  /** Closes idle connections. Running calls continue. Idempotent. */
  close(): void;
}
