import type { KonnectivityErrorCode } from '../konnectivity/konnectivity-error.ts';
import type { TunnelErrorCode } from '../tunnel/errors.ts';

/** Replies to a request (RFC 1928, section 6). */
export const Socks5Reply = {
  succeeded: 0,
  generalFailure: 1,
  notAllowed: 2,
  networkUnreachable: 3,
  hostUnreachable: 4,
  connectionRefused: 5,
  ttlExpired: 6,
  commandNotSupported: 7,
  addressTypeNotSupported: 8,
} as const;
export type Socks5Reply = (typeof Socks5Reply)[keyof typeof Socks5Reply];

/** The reply for an error. A reply has no text, so the log of the bridge has the sentence. */
export function replyOf(code: KonnectivityErrorCode | TunnelErrorCode): Socks5Reply {
  switch (code) {
    case 'forbidden_target':
    case 'forbidden':
    case 'unauthorized':
      return Socks5Reply.notAllowed;
    // There is no way into the cluster now.
    case 'no_agent':
    case 'unknown_destination':
    case 'agent_lost':
    case 'link_lost':
    case 'peer_unresponsive':
      return Socks5Reply.networkUnreachable;
    case 'dns':
    case 'unreachable':
      return Socks5Reply.hostUnreachable;
    case 'refused':
      return Socks5Reply.connectionRefused;
    case 'timeout':
      return Socks5Reply.ttlExpired;
    case 'unsupported_method':
      return Socks5Reply.commandNotSupported;
    default:
      return Socks5Reply.generalFailure;
  }
}
