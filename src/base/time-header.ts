/**
 * A header in which broker and agent tell each other the time of their own clock, in requests and answers of upgrades. `Date` will not do:
 * gateways replace it by their own.
 */
export const timeHeader = 'Culvert-Time';

/** A difference of clocks that is worth a line in the log, in milliseconds. */
export const notableDifferenceMs = 30_000;

/** What `timeHeader` holds: RFC 3339, in UTC and with milliseconds. */
export function formatTime(now: Date): string {
  return now.toISOString();
}

/** The time in a header, in milliseconds since 1970; undefined where there is none, or something else. */
export function parseTime(header: string | null | undefined): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z$/.test(header ?? '')) return undefined;
  const atMs = Date.parse(header!);
  return Number.isNaN(atMs) ? undefined : atMs;
}
