/**
 * Every failure of a dial, a stream, a session or a link. The code travels on the wire (REFUSED,
 * RESET) and reaches the caller's API unchanged; docs/errors.md explains each, and a test compares
 * the two lists.
 */
export const tunnelErrorCodes = [
  // The dial: answers to OPEN.
  'no_agent',
  'refused',
  'dns',
  'timeout',
  'unreachable',
  'forbidden_target',
  'unsupported_target',
  'dial_failed',
  'stream_limit',
  'cancelled',
  // A stream that was open.
  'target_reset',
  'reset',
  'agent_lost',
  'link_lost',
  'window_exceeded',
  // The link or its peer.
  'protocol_error',
  'frame_too_large',
  'unknown_stream',
  'unknown_session',
  'version_unsupported',
  'peer_unresponsive',
  'overloaded',
  'draining',
  'unauthorized',
  'forbidden',
  'internal',
] as const;
export type TunnelErrorCode = (typeof tunnelErrorCodes)[number];

const known: ReadonlySet<string> = new Set(tunnelErrorCodes);

/** The one error class of the tunnel: callers branch on `code`, people read the sentence. */
export class TunnelError extends Error {
  override readonly name = 'TunnelError';
  readonly code: TunnelErrorCode;

  constructor(code: TunnelErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Keeps a TunnelError, wraps anything else as `code` with the cause kept. */
  static from(thrown: unknown, code: TunnelErrorCode = 'internal'): TunnelError {
    if (thrown instanceof TunnelError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new TunnelError(code, message, { cause: thrown });
  }
}

/**
 * Ends of a link after which its session may continue on another link, because neither end was in
 * breach.
 */
const resumable: ReadonlySet<TunnelErrorCode> = new Set([
  'link_lost',
  'agent_lost',
  'peer_unresponsive',
  'overloaded',
  'draining',
]);

/** Whether a session survives a link that ended with this code. */
export function isResumable(code: TunnelErrorCode): boolean {
  return resumable.has(code);
}

/** Reads a code from the wire. A code that this version does not know becomes `fallback`. */
export function parseErrorCode(code: unknown, fallback: TunnelErrorCode): TunnelErrorCode {
  return typeof code === 'string' && known.has(code) ? (code as TunnelErrorCode) : fallback;
}
