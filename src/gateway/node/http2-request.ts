import { randomBytes } from 'node:crypto';
import type { HeaderList } from '../../http-exchange/http-exchange.ts';
import { GatewayError } from '../gateway-error.ts';

/** A request over HTTP/2 in the words of HTTP/1.1. */
export interface Http2RequestHead {
  readonly method: string;
  readonly target: string;
  readonly headers: HeaderList;
  readonly host: string | undefined;
}

/**
 * Translates the fields of a request (RFC 9113, sections 8.2.3 and 8.3). An extended CONNECT (RFC
 * 8441) becomes the handshake of a WebSocket.
 *
 * @param rawHeaders names and values in turn
 * @throws GatewayError the request names two hosts, or a protocol that HTTP/2 does not carry
 */
export function readHttp2Head(rawHeaders: readonly string[]): Http2RequestHead {
  const pseudo = new Map<string, string>();
  const headers: [string, string][] = [];
  const cookies: string[] = [];
  let host: string | undefined;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    const value = rawHeaders[at + 1]!;
    if (name.startsWith(':')) pseudo.set(name, value);
    else if (name === 'cookie') cookies.push(value);
    else if (name === 'host') host = value;
    else headers.push([name, value]);
  }
  const authority = pseudo.get(':authority') ?? host;
  if (host !== undefined && authority !== host) {
    throw new GatewayError('BadRequest', ':authority and Host name different hosts', {
      hop: 'client',
    });
  }
  if (cookies.length > 0) headers.push(['cookie', cookies.join('; ')]);
  if (authority !== undefined) headers.unshift(['Host', authority]);
  const method = pseudo.get(':method') ?? '';
  const target = pseudo.get(':path') ?? '';
  const protocol = pseudo.get(':protocol');
  const head = { method, target, headers, host: authority };
  return protocol === undefined
    ? head
    : { ...head, method: 'GET', headers: [...headers, ...upgradeTo(protocol)] };
}

function upgradeTo(protocol: string): HeaderList {
  if (protocol.toLowerCase() !== 'websocket') {
    throw new GatewayError(
      'BadRequest',
      `the protocol ${JSON.stringify(protocol)} is not served over HTTP/2; WebSocket is, and SPDY/3.1 over HTTP/1.1`,
      { hop: 'client' },
    );
  }
  return [
    ['Connection', 'Upgrade'],
    ['Upgrade', 'websocket'],
    // The client over HTTP/2 has no key, and does not see the server's answer to it.
    ['Sec-WebSocket-Key', randomBytes(16).toString('base64')],
  ];
}
