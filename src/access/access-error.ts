export const accessErrorCodes = [
  /** A service that decides cannot be asked now, or has too much to do. */
  'unavailable',
  /** The credential is not valid, or no authenticator knows it. */
  'unauthenticated',
  /** The path of a request could mean something else to the next server. */
  'malformed_path',
  /** The file of a policy cannot be used. */
  'bad_policy',
  /** A policy selects clusters by labels, which this program cannot know. */
  'labels_unknown',
  /** Options of authentication or authorization contradict each other. */
  'invalid_options',
] as const;
export type AccessErrorCode = (typeof accessErrorCodes)[number];

/** The error of authentication and authorization. The message never contains a credential. */
export class AccessError extends Error {
  override readonly name = 'AccessError';
  readonly code: AccessErrorCode;

  constructor(code: AccessErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
