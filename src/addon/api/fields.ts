/**
 * The fields of an object from another program. A field of the wrong type counts as absent, because
 * CRDs check what matters, and one odd object must not stop the others.
 */
export type Fields = Readonly<Record<string, unknown>>;

/** The fields of `value`, or none when it is no object. */
export function fields(value: unknown): Fields {
  return isFields(value) ? value : {};
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

export function integer(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined;
}

/** The objects in a list. */
export function items(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : [];
}

/** The entries whose value is a string, for labels and selectors. */
export function textMap(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(fields(value)).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(entries);
}

/** Whether both lists have the same texts, in any order. Repeated texts count once. */
export function isSameSet(a: readonly string[], b: readonly string[]): boolean {
  return new Set(a).symmetricDifference(new Set(b)).size === 0;
}

/** The fields that are not undefined. */
export function present<T extends object>(object: T) {
  const entries = Object.entries(object).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

/** The first `count` texts, and the number of the others. */
export function listed(all: readonly string[], count: number): string {
  const first = all.slice(0, count).join(', ');
  return all.length > count ? `${first} and ${all.length - count} more` : first;
}
