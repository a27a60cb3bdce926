import type { KonnectivityErrorCode } from '../konnectivity/konnectivity-error.ts';
import type { TunnelErrorCode } from '../tunnel/errors.ts';

/** The head that a client gets when the agent has connected. It ends with an empty line. */
export const connectionEstablished = Buffer.from('HTTP/1.1 200 Connection Established\r\n\r\n');

/** The header of an answer that holds the code of the error (docs/errors.md). */
const codeHeader = 'Culvert-Error';

const maxReasonCharacters = 200;

/** The problem of a request or of its dial. Both classes of errors have these properties. */
export interface RefusedRequest {
  readonly code: KonnectivityErrorCode | TunnelErrorCode;
  readonly message: string;
}

/**
 * The whole answer to a request that failed. The reason phrase has the message too, because
 * kube-apiserver shows only the status line of an answer to CONNECT.
 */
export function refusalAnswer({ code, message }: RefusedRequest): Buffer {
  const body = `${message}\n`;
  const lines = [
    `HTTP/1.1 ${statusOf(code)} ${reasonPhrase(message)}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    `${codeHeader}: ${code}`,
    ...(code === 'unsupported_method' ? ['Allow: CONNECT'] : []),
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`);
}

/** Visible ASCII and spaces, so that a message cannot add a line (RFC 9112, section 4). */
function reasonPhrase(message: string): string {
  const phrase = message.replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
  return phrase.length <= maxReasonCharacters
    ? phrase
    : `${phrase.slice(0, maxReasonCharacters - 3)}...`;
}

function statusOf(code: RefusedRequest['code']): number {
  switch (code) {
    case 'malformed_request':
    case 'invalid_address':
      return 400;
    // The agent's list of destinations, or the rights of the caller.
    case 'forbidden_target':
    case 'forbidden':
      return 403;
    case 'unsupported_method':
      return 405;
    case 'request_too_large':
      return 431;
    // There is no agent now, or no capacity.
    case 'no_agent':
    case 'unknown_destination':
    case 'agent_lost':
    case 'link_lost':
    case 'peer_unresponsive':
    case 'stream_limit':
    case 'overloaded':
    case 'draining':
      return 503;
    case 'timeout':
      return 504;
    default:
      return 502;
  }
}
