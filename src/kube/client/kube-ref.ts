import type {
  CallOptions,
  KubeApi,
  KubeCollection,
  KubeRef,
  ListOptions,
  ListPage,
} from './kube-api.ts';
import { isKubeError } from './kube-error.ts';
import type { KubeObject } from './kube-object.ts';

/** The reference to an object. */
export function refOf({ apiVersion, kind, metadata }: KubeObject): KubeRef {
  return { apiVersion, kind, namespace: metadata.namespace, name: metadata.name };
}

/** `namespace/name`, or the name if there is no namespace. Unique within a collection. */
export function keyOf({ metadata: { namespace, name } }: Pick<KubeObject, 'metadata'>): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}

/** `Secret hub/agent-server`, for messages. */
export function describeRef(ref: KubeCollection & { readonly name?: string | undefined }): string {
  const { kind, namespace, name } = ref;
  if (name === undefined) return namespace === undefined ? `${kind}s` : `${kind}s in ${namespace}`;
  return namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}

/** The object, or undefined if it does not exist. A kind that is not served still throws. */
export async function find<T extends KubeObject = KubeObject>(
  api: KubeApi,
  ref: KubeRef,
  options: CallOptions,
): Promise<T | undefined> {
  try {
    return await api.get<T>(ref, options);
  } catch (thrown) {
    if (isKubeError(thrown, 'not_found')) return undefined;
    throw thrown;
  }
}

const pageObjects = 500;
const maxAttempts = 3;

/**
 * Reads all objects of a collection, page by page. Begins again when the continue token has
 * expired.
 *
 * @param keep returns the part of an object to keep, so that a page is garbage before the next
 *   comes
 * @returns the objects, and the version from which a watch continues
 */
export async function listAll<T extends KubeObject = KubeObject>(
  api: KubeApi,
  collection: KubeCollection,
  options: Omit<ListOptions, 'continueToken'>,
  keep: (item: T) => T = (item) => item,
): Promise<Pick<ListPage<T>, 'items' | 'resourceVersion'>> {
  for (let attempt = 1; ; attempt++) {
    const items: T[] = [];
    let continueToken: string | undefined;
    try {
      for (;;) {
        const paged = { limit: pageObjects, ...options, continueToken };
        const page: ListPage<T> = await api.list<T>(collection, paged);
        for (const item of page.items) items.push(keep(item));
        continueToken = page.continueToken;
        if (continueToken === undefined) return { items, resourceVersion: page.resourceVersion };
      }
    } catch (thrown) {
      if (!isKubeError(thrown, 'gone') || attempt === maxAttempts) throw thrown;
    }
  }
}
