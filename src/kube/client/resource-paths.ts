import { unlessAborted } from './call-deadline.ts';
import type { KubeCollection } from './kube-api.ts';
import { isKubeError, KubeError } from './kube-error.ts';
import { describeRef } from './kube-ref.ts';

interface Resource {
  /** `secrets` */
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}
type Kinds = ReadonlyMap<string, Resource>;

/** Asks the server for `/api/v1` or `/apis/GROUP/VERSION`; rejects with `not_served` where there is no such group or version. */
type Fetch = (path: string) => Promise<unknown>;

/** Under which path the objects of a kind are: asked once for each group and version, and again for a kind that was not there. */
export class ResourcePaths {
  readonly #fetch: Fetch;
  readonly #known = new Map<string, Kinds>();
  readonly #loading = new Map<string, Promise<Kinds>>();

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  /**
   * @param what the verb, for sentences
   * @throws KubeError `not_served`, `invalid` where the namespace is missing or too much
   */
  async pathOf(
    ref: KubeCollection & { readonly name?: string | undefined },
    verb: string,
    signal: AbortSignal,
  ): Promise<string> {
    const { apiVersion, kind, namespace, name } = ref;
    const resource = await this.#resource(apiVersion, kind, signal);
    const what = `cannot ${verb} ${describeRef(ref)} (${apiVersion})`;
    if (resource === undefined) {
      const message = `${what}: the API server does not serve this kind; install its CRD, or wait until it is there`;
      throw new KubeError('not_served', message);
    }
    if (!resource.namespaced && namespace !== undefined) {
      throw new KubeError('invalid', `${what}: ${kind}s are in no namespace; leave it out`);
    }
    if (resource.namespaced && namespace === undefined && name !== undefined) {
      throw new KubeError('invalid', `${what}: ${kind}s are in a namespace; name it`);
    }
    const parts = [rootOf(apiVersion)];
    if (namespace !== undefined) parts.push('namespaces', encodeURIComponent(namespace));
    parts.push(resource.name);
    if (name !== undefined) parts.push(encodeURIComponent(name));
    return parts.join('/');
  }

  async serves(apiVersion: string, kind: string, signal: AbortSignal): Promise<boolean> {
    return (await this.#resource(apiVersion, kind, signal)) !== undefined;
  }

  /** A path of it was not there after all. */
  forget(apiVersion: string): void {
    this.#known.delete(apiVersion);
  }

  async #resource(apiVersion: string, kind: string, signal: AbortSignal) {
    const known = this.#known.get(apiVersion)?.get(kind);
    if (known !== undefined) return known;
    let loading = this.#loading.get(apiVersion);
    if (loading === undefined) {
      loading = this.#load(apiVersion).finally(() => this.#loading.delete(apiVersion));
      this.#loading.set(apiVersion, loading);
    }
    return (await unlessAborted(loading, signal)).get(kind);
  }

  async #load(apiVersion: string): Promise<Kinds> {
    try {
      const list = (await this.#fetch(rootOf(apiVersion))) as { readonly resources?: Resource[] };
      // `pods/status` is a subresource, and may be of another kind.
      const own = (list.resources ?? []).filter(({ name }) => !name.includes('/'));
      const kinds: Kinds = new Map(own.map((resource) => [resource.kind, resource]));
      this.#known.set(apiVersion, kinds);
      return kinds;
    } catch (thrown) {
      if (!isKubeError(thrown, 'not_served', 'not_found')) throw thrown;
      this.#known.delete(apiVersion);
      return new Map();
    }
  }
}

function rootOf(apiVersion: string): string {
  const version = apiVersion.split('/').map(encodeURIComponent).join('/');
  return apiVersion.includes('/') ? `/apis/${version}` : `/api/${version}`;
}
