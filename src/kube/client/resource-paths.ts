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

/**
 * Fetches `/api/v1` or `/apis/GROUP/VERSION`. Rejects with `not_served` if the server does not have
 * the group or version.
 */
type Fetch = (path: string) => Promise<unknown>;

/**
 * Finds the path of a kind's objects. Asks once for each group and version, and again for a kind
 * that was missing.
 */
export class ResourcePaths {
  readonly #fetch: Fetch;
  readonly #known = new Map<string, Kinds>();
  readonly #loading = new Map<string, Promise<Kinds>>();

  constructor(fetch: Fetch) {
    this.#fetch = fetch;
  }

  /**
   * @param verb for messages
   * @throws KubeError `not_served`, or `invalid` if the namespace is missing or not allowed
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
      const message = `${what}: the API server does not serve this kind; install its CRD, or wait until it is installed`;
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

  /** Drops what is known about a version, because one of its paths was missing. */
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
      // `pods/status` is a subresource, which can be of another kind.
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
