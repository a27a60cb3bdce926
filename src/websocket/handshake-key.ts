import { createHash, randomBytes } from 'node:crypto';

/** The sub-protocol that both ends must name. */
export const culvertProtocol = 'culvert.v1';

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** Makes a Sec-WebSocket-Key. */
export function newHandshakeKey(): string {
  return randomBytes(16).toString('base64');
}

/** Sixteen bytes in base64. */
export function isHandshakeKey(key: string | undefined): key is string {
  return key !== undefined && /^[A-Za-z0-9+/]{22}==$/.test(key);
}

/** Returns the Sec-WebSocket-Accept that a server must answer (RFC 6455, section 4.2.2). */
export function acceptKey(key: string): string {
  return createHash('sha1')
    .update(key + guid)
    .digest('base64');
}

/** Whether a header that lists words has this one. */
export function hasToken(header: string | undefined, token: string): boolean {
  return header?.split(',').some((word) => word.trim().toLowerCase() === token) ?? false;
}
