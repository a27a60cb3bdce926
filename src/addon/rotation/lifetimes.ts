import type { Certificate } from '../../base/x509/index.ts';

export const hourMs = 3_600_000;
export const dayMs = 24 * hourMs;

/** The lifetime of certificates of servers, clients and agents, in milliseconds. */
export const leafLifetimeMs = 180 * dayMs;

/**
 * Certificates are valid from this long before their signature, in milliseconds, because clocks of
 * clusters differ.
 */
const clockSkewMs = 5 * 60_000;

/** The validity of a new certificate, which is not longer than that of its `issuer`. */
export function validity(now: Date, lifetimeMs: number, issuer?: Certificate) {
  const endsAtMs = Math.min(now.getTime() + lifetimeMs, issuer?.notAfter.getTime() ?? Infinity);
  return { notBefore: new Date(now.getTime() - clockSkewMs), notAfter: new Date(endsAtMs) };
}

/** The part of its lifetime after which a certificate is renewed. */
const usedPart = 0.8;

/** When a certificate must be renewed. */
export function renewAt({ notBefore, notAfter }: Certificate): Date {
  const startMs = notBefore.getTime();
  return new Date(startMs + usedPart * (notAfter.getTime() - startMs));
}

/** The earliest of several times. */
export function earliest(times: readonly Date[]): Date {
  return new Date(Math.min(...times.map((time) => time.getTime())));
}
