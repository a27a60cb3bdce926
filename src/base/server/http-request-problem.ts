import type { IncomingMessage } from 'node:http';
import { requestTargetProblem } from './request-target.ts';

/** Limits on the head of an HTTP request, on every listener. */
export const headLimits = {
  /** Bytes of the request line and all headers. Node answers 431 to a longer head. */
  maxHeadBytes: 16 * 1024,
  /** Header fields. */
  maxHeaders: 100,
} as const;

/** A reason to refuse a request before any route handles it. */
export interface RequestProblem {
  readonly status: 400 | 431 | 505;
  /** As a sentence. */
  readonly message: string;
}

/**
 * Finds parts of a request that proxies and servers read differently (RFC 9112, sections 3, 6 and
 * 11.2). Node's parser refuses most of them: two lengths, a length with Transfer-Encoding, bare
 * line feeds, folded headers. The cases checked here are accepted by Node, especially in an
 * upgrade.
 *
 * @param acceptsBodies whether the request may have a body
 */
export function requestProblem(
  message: IncomingMessage,
  acceptsBodies = false,
): RequestProblem | undefined {
  const { rawHeaders, headers, httpVersion } = message;
  if (rawHeaders.length > 2 * headLimits.maxHeaders) {
    const sentence = `the request has more than ${headLimits.maxHeaders} header fields`;
    return { status: 431, message: sentence };
  }
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    return { status: 505, message: `HTTP/${httpVersion} is not served here, use HTTP/1.1` };
  }
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]!.toLowerCase() === 'host') hosts++;
  }
  // Health checks of load balancers use HTTP/1.0 without a Host header.
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) {
    return { status: 400, message: `the request has ${hosts} Host headers, it needs one` };
  }
  const hasBody =
    headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
  if (hasBody && !acceptsBodies) {
    return { status: 400, message: 'no request of this server has a body' };
  }
  const problem = requestTargetProblem(message.url ?? '');
  return problem === undefined ? undefined : { status: 400, message: problem };
}
