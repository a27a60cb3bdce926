/**
 * The header in which broker and agent send each other their own time, in requests and answers of
 * upgrades. `Date` is not suitable, because gateways replace it with their own.
 */
export const timeHeader = 'Culvert-Time';

/** The difference between two clocks from which it is logged, in milliseconds. */
export const notableDifferenceMs = 30_000;

/** The value of `timeHeader`: RFC 3339, in UTC and with milliseconds. */
export function formatTime(now: Date): string {
  return now.toISOString();
}

/**
 * The time in a header, in milliseconds since 1970. Undefined when the header is missing or
 * malformed.
 */
export function parseTime(header: string | null | undefined): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(header ?? '')) return undefined;
  const atMs = Date.parse(header!);
  return Number.isNaN(atMs) ? undefined : atMs;
}
