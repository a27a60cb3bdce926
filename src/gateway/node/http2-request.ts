import { randomBytes } from 'node:crypto';
import type { RequestHead } from '../../http2/request-head.ts';
import type { HeaderField, HeaderList } from '../../http-exchange/http-exchange.ts';

/** A request over HTTP/2 in the words of HTTP/1.1. */
export interface Http2RequestHead {
  readonly method: string;
  readonly target: string;
  readonly headers: HeaderList;
  readonly host: string | undefined;
  /** The reason why the request cannot be served, as a sentence. */
  readonly problem: string | undefined;
}

/**
 * Translates the fields of a request (RFC 9113, sections 8.2.3 and 8.3). An extended CONNECT (RFC
 * 8441) becomes the handshake of a WebSocket.
 */
export function readHttp2Head({
  method,
  path: target,
  authority,
  protocol,
  fields,
}: RequestHead): Http2RequestHead {
  const headers: HeaderField[] = [];
  let cookies: string | undefined;
  let host = authority;
  let problem: string | undefined;
  for (const { name, value } of fields) {
    if (name === 'cookie') {
      cookies = cookies === undefined ? value : `${cookies}; ${value}`;
    } else if (name !== 'host') {
      headers.push([name, value]);
    } else {
      if (host !== undefined && value !== host) {
        problem = ':authority and Host name different hosts';
      }
      host = value;
    }
  }
  if (cookies !== undefined) headers.push(['cookie', cookies]);
  if (host !== undefined) headers.unshift(['Host', host]);
  if (protocol === undefined) return { method, target, headers, host, problem };
  headers.push(...upgradeHeaders());
  problem ??= protocolProblem(protocol);
  return { method: 'GET', target, headers, host, problem };
}

function protocolProblem(protocol: string): string | undefined {
  if (protocol.toLowerCase() === 'websocket') return undefined;
  return `the protocol ${JSON.stringify(protocol)} is not served over HTTP/2; WebSocket is, and SPDY/3.1 over HTTP/1.1`;
}

function upgradeHeaders(): HeaderList {
  return [
    ['Connection', 'Upgrade'],
    ['Upgrade', 'websocket'],
    // The client over HTTP/2 has no key, and does not see the server's answer to it.
    ['Sec-WebSocket-Key', randomBytes(16).toString('base64')],
  ];
}
