import { parseErrorCode, TunnelError, type TunnelErrorCode } from '../tunnel/errors.ts';

/**
 * The number in a close frame for each code; the text beside it begins with the code
 * (docs/protocol.md, "Closing").
 */
const closeCodes = {
  protocol_error: 1002,
  frame_too_large: 1009,
  draining: 1001,
  unauthorized: 1008,
  forbidden: 1008,
  internal: 1011,
  no_agent: 4000,
  refused: 4001,
  dns: 4002,
  timeout: 4003,
  unreachable: 4004,
  forbidden_target: 4005,
  dial_failed: 4006,
  stream_limit: 4007,
  cancelled: 4008,
  target_reset: 4009,
  reset: 4010,
  agent_lost: 4011,
  link_lost: 4012,
  window_exceeded: 4013,
  unknown_stream: 4014,
  unknown_session: 4015,
  version_unsupported: 4016,
  peer_unresponsive: 4017,
  overloaded: 4018,
  unsupported_target: 4019,
} satisfies Record<TunnelErrorCode, number>;

const orderly = 1000;
const maxReasonBytes = 123;

/**
 * Close codes of other implementations that mean one of ours (RFC 6455, section 7.4.1, and the IANA
 * registry).
 */
const foreignCodes = new Map<number, TunnelErrorCode>([
  [1001, 'draining'],
  [1002, 'protocol_error'],
  [1003, 'protocol_error'],
  [1007, 'protocol_error'],
  [1008, 'forbidden'],
  [1009, 'frame_too_large'],
  [1011, 'internal'],
  [1012, 'draining'],
  [1013, 'overloaded'],
]);

/**
 * The payload of a close frame: a code and `code: sentence`, cut to what a control frame carries.
 */
export function closePayload(error: TunnelError | undefined): Uint8Array {
  const payload = new Uint8Array(2 + maxReasonBytes);
  const code = error === undefined ? orderly : closeCodes[error.code];
  payload[0] = code >>> 8;
  payload[1] = code;
  if (error === undefined) return payload.subarray(0, 2);
  // encodeInto never cuts a character in two.
  const reason = `${error.code}: ${error.message}`;
  const { written } = new TextEncoder().encodeInto(reason, payload.subarray(2));
  return payload.subarray(0, 2 + written);
}

/** Returns the error that a received close frame reports; undefined for an orderly end. */
export function closeError(code: number | undefined, reason: string): TunnelError | undefined {
  if (code === undefined || code === orderly) return undefined;
  const named = /^([a-z_]+): (.*)$/s.exec(reason);
  const said = parseErrorCode(named?.[1], foreignCodes.get(code) ?? 'link_lost');
  if (named !== null && said === named[1]) return new TunnelError(said, named[2]!);
  const words = reason === '' ? '' : `: ${reason}`;
  return new TunnelError(said, `the other end closed the link with code ${code}${words}`);
}
