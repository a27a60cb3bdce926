/** Why a standard agent is refused or disconnected. docs/errors.md explains each code. */
export const standardAgentErrorCodes = [
  // The call is refused.
  'invalid_metadata',
  'unauthenticated',
  'authentication_unavailable',
  'forbidden',
  'too_many_agents',
  // The agent is disconnected.
  'malformed_packet',
  'protocol_error',
  'flood',
  'draining',
] as const;
export type StandardAgentErrorCode = (typeof standardAgentErrorCodes)[number];

/** Ends the call of one standard agent. The agent gets the sentence with its status. */
export class StandardAgentError extends Error {
  override readonly name = 'StandardAgentError';
  readonly code: StandardAgentErrorCode;

  constructor(code: StandardAgentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
