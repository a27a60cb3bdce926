/** Problems of a client's packets or request, of a destination, or of the bridge's options. */
export type KonnectivityErrorCode =
  // A client's packets.
  | 'malformed_packet'
  | 'packet_too_large'
  | 'compressed_packet'
  // A request of HTTP CONNECT or SOCKS 5.
  | 'malformed_request'
  | 'request_too_large'
  | 'unsupported_method'
  // A client's destination.
  | 'invalid_address'
  | 'unsupported_network'
  | 'unknown_destination'
  // The start of the bridge.
  | 'invalid_options'
  | 'listen_failed';

/** The error class of the bridge. Callers branch on `code`, and `message` is for people. */
export class KonnectivityError extends Error {
  override readonly name = 'KonnectivityError';
  readonly code: KonnectivityErrorCode;

  constructor(code: KonnectivityErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
