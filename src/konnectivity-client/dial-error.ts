/** Why a dial failed. The names are those of the Go client's `GetDialFailureReason`. */
export type DialFailureReason =
  /** The server refused the dial. The message is the server's. */
  | 'endpoint'
  /** The server cancelled the dial. */
  | 'dialclosed'
  /** The stream ended before the answer. */
  | 'tunnelclosed'
  /** No stream could be opened. */
  | 'streamsetup'
  /** No answer in time. */
  | 'timeout'
  /** The caller's signal was aborted. */
  | 'context';

/** A failed dial. */
export class DialError extends Error {
  override readonly name = 'DialError';
  readonly reason: DialFailureReason;

  constructor(reason: DialFailureReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
