import { CredentialError } from './credential-error.ts';
import type { BearerToken } from './token-sources.ts';

/**
 * How long before its end a token counts as expired, in milliseconds. A client runs the plugin
 * again only when the token has expired, and its requests must not fail shortly before.
 */
const marginMs = 60_000;

/**
 * The answer of an exec plugin. The client keeps the token until `expirationTimestamp`.
 *
 * @param now the time of day
 * @throws CredentialError the token has expired
 */
export function execCredential(
  apiVersion: string,
  { token, expiresAt }: BearerToken,
  now: Date,
): string {
  const leftMs = expiresAt === undefined ? Infinity : expiresAt.getTime() - now.getTime();
  if (!(leftMs > 0)) {
    throw new CredentialError(
      `the token has expired at ${expiresAt!.toISOString()}; is the program that renews it running?`,
    );
  }
  const earlyMs = leftMs > 2 * marginMs ? marginMs : 0;
  const expiry =
    expiresAt === undefined
      ? {}
      : { expirationTimestamp: toSeconds(new Date(expiresAt.getTime() - earlyMs)) };
  return JSON.stringify({
    kind: 'ExecCredential',
    apiVersion,
    status: { token: token.reveal(), ...expiry },
  });
}

/** RFC 3339 without fractions, as Kubernetes writes times. */
const toSeconds = (time: Date) => time.toISOString().replace(/\.\d+Z$/, 'Z');
