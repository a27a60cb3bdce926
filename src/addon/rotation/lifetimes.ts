export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

/** How long certificates of servers, clients and agents are valid, in milliseconds. */
export const leafLifetimeMs = 180 * dayMs;

/** Certificates are valid from a little before they were made: clocks of clusters differ. In milliseconds. */
export const clockSkewMs = 5 * 60_000;

/** Which part of its lifetime a certificate is used for before the next one is made. */
const usedPart = 0.8;

/** When a certificate is to be made anew. */
export function renewAt({
  notBefore,
  notAfter,
}: {
  readonly notBefore: Date;
  readonly notAfter: Date;
}): Date {
  const startMs = notBefore.getTime();
  return new Date(startMs + usedPart * (notAfter.getTime() - startMs));
}

/** The earliest of some moments. */
export function earliest(first: Date, ...others: readonly Date[]): Date {
  return others.reduce((at, other) => (other < at ? other : at), first);
}
