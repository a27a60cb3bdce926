export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

/** The lifetime of certificates of servers, clients and agents, in milliseconds. */
export const leafLifetimeMs = 180 * dayMs;

/** Certificates are valid from this long before their signature, in milliseconds, because clocks of clusters differ. */
export const clockSkewMs = 5 * 60_000;

/** The part of its lifetime after which a certificate is renewed. */
const usedPart = 0.8;

/** When a certificate must be renewed. */
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

/** The earliest of several times. */
export function earliest(first: Date, ...others: readonly Date[]): Date {
  return others.reduce((at, other) => (other < at ? other : at), first);
}
