/** Every way in which a client's packets, a destination or the bridge's own configuration can be wrong. */
export type BridgeErrorCode =
  // What a client sent.
  | 'malformed_packet'
  | 'packet_too_large'
  | 'compressed_packet'
  // What a client asked for.
  | 'invalid_address'
  | 'unsupported_network'
  | 'unknown_destination'
  // What the bridge was started with.
  | 'invalid_options'
  | 'listen_failed';

/** The one error class of the bridge: callers branch on `code`, people read the sentence. */
export class BridgeError extends Error {
  override readonly name = 'BridgeError';
  readonly code: BridgeErrorCode;

  constructor(code: BridgeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
