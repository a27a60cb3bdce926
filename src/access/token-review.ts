import { AccessError } from './access-error.ts';
import type { CredentialId, Subject, SubjectSource } from './subject.ts';
import { unverifiedToken } from './unverified-token.ts';

/** The status of a Kubernetes TokenReview. Its server may be hostile, so a field may be anything. */
export interface TokenReviewStatus {
  readonly authenticated?: unknown;
  readonly error?: unknown;
  readonly audiences?: unknown;
  readonly user?: unknown;
}

/**
 * Creates a TokenReview and returns its status.
 *
 * @param audiences empty: the API server's own audience
 * @throws Error the API server does not answer, or refuses the request
 */
export type ReviewToken = (
  token: string,
  audiences: readonly string[],
  signal: AbortSignal,
) => Promise<TokenReviewStatus | undefined>;

/** The most groups of a user. An API server has no such limit, but a header block has. */
const maxGroups = 1_000;
const maxNameCharacters = 1_024;

/**
 * Reads the answer to a TokenReview in upstream's way. An error that says `invalid bearer token`
 * is a rejection, also as one part of OpenShift's list. Any other error is not.
 *
 * @returns undefined: the API server does not know the token
 * @throws AccessError `unavailable` the answer decides nothing
 */
export function readTokenReview(
  token: string,
  status: TokenReviewStatus | undefined,
  { source, audiences = [] }: { source: SubjectSource; audiences?: readonly string[] },
): Subject | undefined {
  const { authenticated, error } = status ?? {};
  if (typeof error === 'string' && error !== '') {
    if (error.toLowerCase().includes('invalid bearer token')) return undefined;
    throw new AccessError('unavailable', shortened(error));
  }
  if (authenticated !== true) return undefined;
  // A server that does not know audiences omits them, so it has not checked ours.
  const reviewed = textsOf(status?.audiences);
  if (!audiences.every((wanted) => reviewed.includes(wanted))) return undefined;
  const user = recordOf(status?.user);
  const { username, uid } = user;
  const groups = textsOf(user['groups']);
  const isUser = typeof username === 'string' && username !== '' && isName(username);
  if (!isUser || groups.length > maxGroups || !groups.every(isName)) {
    throw new AccessError('unavailable', 'the answer to the TokenReview names no usable user');
  }
  const extra = Object.fromEntries(
    Object.entries(recordOf(user['extra'])).map(([key, values]) => [key, textsOf(values)]),
  );
  return {
    user: username,
    groups,
    ...(typeof uid === 'string' && uid !== '' ? { uid } : {}),
    extra,
    source,
    credential: credentialOf(token, extra),
    expiresAtMs: expiryOf(token),
  };
}

/** The id of a token that an authority has accepted. */
function credentialOf(
  token: string,
  extra: Readonly<Record<string, readonly string[]>>,
): CredentialId | undefined {
  const [id = ''] = extra['authentication.kubernetes.io/credential-id'] ?? [];
  if (id.startsWith('JTI=')) return { kind: 'token', id: id.slice('JTI='.length) };
  const { jti } = unverifiedToken(token);
  return typeof jti === 'string' && jti !== '' ? { kind: 'token', id: jti } : undefined;
}

/** The claim `exp` of a token that an authority has accepted, in milliseconds since 1970. */
function expiryOf(token: string): number | undefined {
  const { exp } = unverifiedToken(token);
  return typeof exp === 'number' && Number.isFinite(exp) ? exp * 1000 : undefined;
}

/** Names become header values, so control characters would add headers. */
export function isName(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- they are looked for
  return text.length <= maxNameCharacters && !/[\u0000-\u001f\u007f]/.test(text);
}

function textsOf(value: unknown): readonly string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((text): text is string => typeof text === 'string');
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}

function shortened(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}...` : text;
}
