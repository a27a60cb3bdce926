/** Why a dial failed, in the words of the Go client's `GetDialFailureReason`. */
export type DialFailureReason =
  /** The server said no; the message is what it said. */
  | 'endpoint'
  /** The server took the dial back. */
  | 'dialclosed'
  /** The stream ended before an answer. */
  | 'tunnelclosed'
  /** No stream could be opened at all. */
  | 'streamsetup'
  /** No answer in time. */
  | 'timeout'
  /** The caller's signal was aborted. */
  | 'context';

/** A dial that did not lead to a connection. */
export class DialError extends Error {
  override readonly name = 'DialError';
  readonly reason: DialFailureReason;

  constructor(reason: DialFailureReason, message: string, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
  }
}
