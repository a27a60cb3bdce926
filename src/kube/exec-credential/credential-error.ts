/** Why an exec plugin gives no credentials. The client shows the message to its user. */
export class CredentialError extends Error {
  override readonly name = 'CredentialError';
}
