/** A tree of plain values, as JSON is. */
export type Tree = Readonly<Record<string, unknown>>;

/** The owners of each leaf. A list is one leaf here. A real server merges some lists by key. */
export type FieldOwners = Map<string, Set<string>>;

const separator = '\u0000';

export interface Applied {
  readonly tree: Tree;
  readonly owners: FieldOwners;
  /** Leaves that other managers own and that would change. */
  readonly conflicts: readonly { readonly field: string; readonly manager: string }[];
}

/** Server-side apply of `wanted` over `stored`. */
export function applyFields(
  stored: Tree,
  owners: FieldOwners,
  wanted: Tree,
  manager: string,
): Applied {
  const leaves = leavesOf(wanted);
  const next: FieldOwners = new Map(Array.from(owners, ([path, who]) => [path, new Set(who)]));
  const conflicts: { field: string; manager: string }[] = [];
  let tree = stored;
  for (const [path, who] of next) {
    // Fields that this manager applied before and omits now go, unless another owner has them.
    if (!who.has(manager) || leaves.has(path)) continue;
    who.delete(manager);
    if (who.size > 0) continue;
    next.delete(path);
    tree = without(tree, path.split(separator));
  }
  for (const [path, value] of leaves) {
    const parts = path.split(separator);
    const isSame = JSON.stringify(valueAt(tree, parts)) === JSON.stringify(value);
    if (!isSame) {
      for (const other of next.get(path) ?? []) {
        if (other !== manager) conflicts.push({ field: `.${parts.join('.')}`, manager: other });
      }
      tree = withValue(tree, parts, value);
    }
    const before = isSame ? (next.get(path) ?? []) : [];
    next.set(path, new Set([...before, manager]));
  }
  return { tree, owners: next, conflicts };
}

/** A manager that updates an object owns the changed fields. */
export function ownersAfterUpdate(
  owners: FieldOwners,
  stored: Tree,
  updated: Tree,
  manager: string,
): FieldOwners {
  const before = leavesOf(stored);
  const next: FieldOwners = new Map();
  for (const [path, value] of leavesOf(updated)) {
    const isSame = JSON.stringify(before.get(path)) === JSON.stringify(value);
    next.set(path, isSame ? (owners.get(path) ?? new Set([manager])) : new Set([manager]));
  }
  return next;
}

/** RFC 7386. */
export function mergePatched(tree: unknown, patch: unknown): unknown {
  if (!isTree(patch)) return patch;
  const merged: Record<string, unknown> = isTree(tree) ? { ...tree } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete merged[field];
    else merged[field] = mergePatched(merged[field], value);
  }
  return merged;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function leavesOf(tree: Tree, prefix = '', found = new Map<string, unknown>()) {
  for (const [field, value] of Object.entries(tree)) {
    if (value === undefined) continue;
    const path = prefix === '' ? field : prefix + separator + field;
    if (isTree(value) && Object.keys(value).length > 0) leavesOf(value, path, found);
    else found.set(path, value);
  }
  return found;
}

function valueAt(tree: unknown, [field, ...rest]: readonly string[]): unknown {
  if (field === undefined) return tree;
  return isTree(tree) ? valueAt(tree[field], rest) : undefined;
}

function withValue(tree: unknown, [field, ...rest]: readonly string[], value: unknown): Tree {
  const own = isTree(tree) ? tree : {};
  if (field === undefined) return own;
  return { ...own, [field]: rest.length === 0 ? value : withValue(own[field], rest, value) };
}

function without(tree: Tree, [field, ...rest]: readonly string[]): Tree {
  if (field === undefined || !(field in tree)) return tree;
  const { [field]: inner, ...others } = tree;
  if (rest.length === 0 || !isTree(inner)) return others;
  const left = without(inner, rest);
  // A branch that has no leaf left goes with the last of them.
  return Object.keys(left).length === 0 ? others : { ...tree, [field]: left };
}
