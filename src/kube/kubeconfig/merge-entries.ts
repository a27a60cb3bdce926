import type { Entry, EntryList, KubeconfigDocument } from './kubeconfig-document.ts';

/** A context of which an entry was changed. */
export interface ContextChange {
  readonly context: string;
  readonly change: 'added' | 'updated' | 'removed' | 'unchanged';
}

export interface MergeOptions {
  /** Replaces entries that we did not write. */
  readonly force: boolean;
  /** Removes the contexts of this gateway whose clusters are not in `clusters`. */
  readonly prune?: { readonly gateway: string; readonly clusters: ReadonlySet<string> } | undefined;
}

export interface Merged {
  readonly changes: readonly ContextChange[];
  /** Entries that we did not write and that are in the way. If there are any, do not write. */
  readonly refused: readonly string[];
}

/**
 * Puts `entries` into kubeconfigs. An entry that exists is changed in the first file that has it,
 * because client-go reads that one. A new entry is written to `target`.
 *
 * @param documents the files in the order of KUBECONFIG
 */
export function mergeEntries(
  documents: readonly KubeconfigDocument[],
  target: KubeconfigDocument,
  entries: readonly Entry[],
  { force, prune }: MergeOptions,
): Merged {
  const refused: string[] = [];
  const changes = new Map<string, ContextChange['change']>();
  for (const entry of entries) {
    const { list, name, marker } = entry;
    const holder = documents.find((document) => document.has(list, name));
    if (holder !== undefined && !force && holder.markerOf(list, name) === undefined) {
      refused.push(`${singular[list]} ${name} in ${holder.path}`);
      continue;
    }
    const change = (holder ?? target).set({ list, name, fields: entry.fields, marker });
    const before = changes.get(name);
    changes.set(name, before === undefined || before === change ? change : 'updated');
  }
  if (prune !== undefined) {
    for (const name of removeGone(documents, prune)) changes.set(name, 'removed');
  }
  return {
    changes: [...changes].map(([context, change]) => ({ context, change })),
    refused,
  };
}

const singular: Readonly<Record<EntryList, string>> = {
  clusters: 'the cluster',
  users: 'the user',
  contexts: 'the context',
};

/** @returns the names of the contexts */
function removeGone(
  documents: readonly KubeconfigDocument[],
  { gateway, clusters }: NonNullable<MergeOptions['prune']>,
): ReadonlySet<string> {
  const gone = new Set<string>();
  for (const list of ['contexts', 'clusters', 'users'] as const) {
    for (const document of documents) {
      for (const { name, marker } of document.marked(list)) {
        if (marker.gateway !== gateway || clusters.has(marker.cluster)) continue;
        document.remove(list, name);
        if (list === 'contexts') gone.add(name);
      }
    }
  }
  for (const document of documents) {
    if (gone.has(document.currentContext ?? '')) document.clearCurrentContext();
  }
  return gone;
}
