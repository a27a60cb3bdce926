import type { HttpRequestHead } from '../../http-exchange/http-exchange.ts';

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/**
 * Adds the client's part of a WebSocket handshake to a request (RFC 6455, section 4.1).
 *
 * @returns `expectedAccept`: the Sec-WebSocket-Accept that the server must answer
 */
export async function addHandshake(
  head: HttpRequestHead,
): Promise<{ readonly head: HttpRequestHead; readonly expectedAccept: string }> {
  const key = base64(crypto.getRandomValues(new Uint8Array(16)));
  const digest = await crypto.subtle.digest('SHA-1', new TextEncoder().encode(key + guid));
  return {
    head: {
      ...head,
      headers: [...head.headers, ['Sec-WebSocket-Key', key], ['Sec-WebSocket-Version', '13']],
    },
    expectedAccept: base64(new Uint8Array(digest)),
  };
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
