import type { IncomingMessage } from 'node:http';
import { systemClock, type Clock } from '../../base/clock.ts';
import {
  ApiServerConnection,
  type ApiRequest,
  type ApiServerConnectionOptions,
} from './api-server-connection.ts';
import { withinDeadline } from './call-deadline.ts';
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
} from './kube-api.ts';
import { isKubeError, KubeError } from './kube-error.ts';
import type { KubeObject } from './kube-object.ts';
import { describeRef, refOf } from './kube-ref.ts';
import { readAnswer } from './read-answer.ts';
import { ResourcePaths } from './resource-paths.ts';
import { errorOf } from './status-error.ts';
import { openWatch } from './open-watch.ts';

export interface RestKubeApiOptions extends Omit<ApiServerConnectionOptions, 'userAgent'> {
  /** Owns the fields that we apply. */
  readonly fieldManager: string;
  /** Names us in the server's audit log, and to proxies (default: `fieldManager`). */
  readonly userAgent?: string | undefined;
  readonly clock?: Clock | undefined;
  /**
   * A watch without any event for this time ends, in case its connection is dead, in milliseconds
   * (default 150_000).
   */
  readonly maxSilenceMs?: number | undefined;
}

type Body = NewKubeObject | KubeObject;
type Query = Readonly<Record<string, string | number | boolean | undefined>>;

const defaultTimeoutMs = 15_000;
const contentTypes = {
  apply: 'application/apply-patch+yaml',
  merge: 'application/merge-patch+json',
} as const;

/** The API server's REST interface: JSON over HTTP/1.1. */
export class RestKubeApi implements KubeApi {
  readonly #connection: ApiServerConnection;
  readonly #paths: ResourcePaths;
  readonly #fieldManager: string;
  readonly #clock: Clock;
  readonly #maxSilenceMs: number;

  constructor(options: RestKubeApiOptions) {
    const { fieldManager, clock = systemClock, maxSilenceMs = 150_000 } = options;
    const { userAgent = fieldManager } = options;
    this.#connection = new ApiServerConnection({ ...options, userAgent });
    this.#fieldManager = fieldManager;
    this.#clock = clock;
    this.#maxSilenceMs = maxSilenceMs;
    this.#paths = new ResourcePaths((path) =>
      // Not a caller's signal, because several callers can wait for the answer.
      this.#call(
        { method: 'GET', path, what: `discover ${path}` },
        { signal: new AbortController().signal },
      ),
    );
  }

  get<T extends KubeObject = KubeObject>(ref: KubeRef, options: CallOptions): Promise<T> {
    return this.#callOn<T>('GET', 'get', ref, options);
  }

  async list<T extends KubeObject = KubeObject>(
    collection: KubeCollection,
    options: ListOptions,
  ): Promise<ListPage<T>> {
    const { labelSelector, fieldSelector, limit, continueToken } = options;
    const query = { labelSelector, fieldSelector, limit, continue: continueToken };
    const body = await this.#callOn<RawList<T>>('GET', 'list', collection, options, { query });
    const { apiVersion, kind } = collection;
    return {
      // The server omits both in lists.
      items: (body.items ?? []).map((item) => ({ ...item, apiVersion, kind })),
      resourceVersion: body.metadata?.resourceVersion ?? '',
      continueToken: body.metadata?.continue || undefined,
    };
  }

  async *watch<T extends KubeObject = KubeObject>(
    collection: KubeCollection,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const { signal, labelSelector, fieldSelector, resourceVersion } = options;
    const timeoutMs = options.timeoutMs ?? (5 + 5 * Math.random()) * 60_000;
    const query = {
      watch: true,
      allowWatchBookmarks: true,
      labelSelector,
      fieldSelector,
      resourceVersion,
      timeoutSeconds: Math.ceil(timeoutMs / 1000),
    };
    const what = `watch ${describeRef(collection)}`;
    const answer = await this.#within(what, { signal }, async (within) => {
      const path = await this.#paths.pathOf(collection, 'watch', within);
      const request: ApiRequest = { method: 'GET', path: path + queryOf(query), what };
      const answer = await this.#connection.send(request, within);
      if (answer.statusCode !== 200) {
        throw this.#refused(await readAnswer(answer, what, within), answer, what, collection);
      }
      return answer;
    });
    const limits = { signal, clock: this.#clock, maxSilenceMs: this.#maxSilenceMs };
    yield* openWatch<T>(answer, what, limits);
  }

  apply<T extends KubeObject = KubeObject>(object: KubeObject, options: ApplyOptions): Promise<T> {
    return this.#callOn<T>('PATCH', 'apply', refOf(object), options, {
      query: { ...this.#writeQuery(options), force: options.force },
      contentType: contentTypes.apply,
      body: object,
    });
  }

  create<T extends KubeObject = KubeObject>(object: Body, options: WriteOptions): Promise<T> {
    const { apiVersion, kind, metadata } = object;
    const collection = { apiVersion, kind, namespace: metadata?.namespace };
    const query = this.#writeQuery(options);
    const what = `create ${describeRef({ ...collection, name: metadata?.name ?? '(unnamed)' })}`;
    return this.#callOn<T>('POST', 'create', collection, options, { query, body: object, what });
  }

  createSubresource<T extends Body = KubeObject>(
    ref: KubeRef,
    subresource: string,
    object: Body,
    options: CallOptions,
  ): Promise<T> {
    const given = { ...options, subresource };
    const query = this.#writeQuery({});
    return this.#callOn<T>('POST', 'create', ref, given, { query, body: object });
  }

  update<T extends KubeObject = KubeObject>(object: KubeObject, options: WriteOptions): Promise<T> {
    const query = this.#writeQuery(options);
    return this.#callOn<T>('PUT', 'update', refOf(object), options, { query, body: object });
  }

  patch<T extends KubeObject = KubeObject>(
    ref: KubeRef,
    mergePatch: Readonly<Record<string, unknown>>,
    options: WriteOptions,
  ): Promise<T> {
    return this.#callOn<T>('PATCH', 'patch', ref, options, {
      query: this.#writeQuery(options),
      contentType: contentTypes.merge,
      body: mergePatch,
    });
  }

  async delete(ref: KubeRef, options: DeleteOptions): Promise<boolean> {
    const { uid, propagation = 'Background', dryRun } = options;
    const body = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      propagationPolicy: propagation,
      ...(uid === undefined ? {} : { preconditions: { uid } }),
      ...(dryRun ? { dryRun: ['All'] } : {}),
    };
    try {
      await this.#callOn('DELETE', 'delete', ref, options, { body });
      return true;
    } catch (thrown) {
      if (isKubeError(thrown, 'not_found')) return false;
      throw thrown;
    }
  }

  serves(kind: Pick<KubeCollection, 'apiVersion' | 'kind'>, options: CallOptions) {
    return this.#within(`discover ${kind.kind}s (${kind.apiVersion})`, options, (signal) =>
      this.#paths.serves(kind.apiVersion, kind.kind, signal),
    );
  }

  close(): void {
    this.#connection.close();
  }

  #writeQuery({ dryRun }: Pick<WriteOptions, 'dryRun'>): Query {
    return { fieldManager: this.#fieldManager, dryRun: dryRun ? 'All' : undefined };
  }

  async #callOn<T>(
    method: ApiRequest['method'],
    verb: string,
    ref: KubeCollection & { readonly name?: string },
    options: CallOptions & { readonly subresource?: string | undefined },
    content: CallContent = {},
  ): Promise<T> {
    const { subresource } = options;
    const of = subresource === undefined ? '' : `${subresource} of `;
    const what = content.what ?? `${verb} ${of}${describeRef(ref)}`;
    return this.#within(what, options, async (signal) => {
      const path = await this.#paths.pathOf(ref, verb, signal);
      const whole = subresource === undefined ? path : `${path}/${subresource}`;
      const request: ApiRequest = {
        method,
        path: whole + queryOf(content.query ?? {}),
        what,
        contentType: content.contentType,
        body: content.body === undefined ? undefined : JSON.stringify(content.body),
      };
      return (await this.#exchange(request, signal, ref)) as T;
    });
  }

  #call(request: ApiRequest, options: CallOptions): Promise<unknown> {
    return this.#within(request.what, options, (signal) => this.#exchange(request, signal));
  }

  async #exchange(request: ApiRequest, signal: AbortSignal, of?: KubeCollection): Promise<unknown> {
    const answer = await this.#connection.send(request, signal);
    const body = await readAnswer(answer, request.what, signal);
    const status = answer.statusCode ?? 0;
    if (status < 200 || status > 299) throw this.#refused(body, answer, request.what, of);
    if (typeof body === 'object') return body;
    const message = `cannot ${request.what}: the answer is ${status} but not JSON; is something else answering for the API server?`;
    throw new KubeError('bad_response', message, { status });
  }

  #refused(body: unknown, answer: IncomingMessage, what: string, of?: KubeCollection): KubeError {
    const { statusCode = 0, headers } = answer;
    const error = errorOf(statusCode, body, what, headers['retry-after']);
    if (error.code === 'not_served' && of !== undefined) this.#paths.forget(of.apiVersion);
    return error;
  }

  #within<T>(what: string, options: CallOptions, call: (signal: AbortSignal) => Promise<T>) {
    const { signal, timeoutMs = defaultTimeoutMs } = options;
    const late = () =>
      new KubeError(
        'timeout',
        `cannot ${what}: no answer within ${timeoutMs / 1000} s; culvert tries again, check the API server and the network`,
      );
    return withinDeadline(this.#clock, signal, timeoutMs, late, call);
  }
}

interface RawList<T> {
  readonly items?: readonly T[];
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
}

interface CallContent {
  readonly query?: Query;
  readonly contentType?: string;
  readonly body?: object;
  readonly what?: string;
}

function queryOf(query: Query): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) given.set(name, String(value));
  }
  return given.size === 0 ? '' : `?${given.toString()}`;
}
