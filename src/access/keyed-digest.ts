/**
 * A digest of a text that only the holder of a key can compute. The runtime decides whether it is
 * there at once.
 */
export type KeyedDigest = (text: string) => string | Promise<string>;

/** An HMAC of SHA-256 by Web Crypto, with a key of its own. Every runtime has it. */
export function webKeyedDigest(): KeyedDigest {
  const key = crypto.subtle.importKey(
    'raw',
    crypto.getRandomValues(new Uint8Array(32)),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  return async (text) => {
    const mac = await crypto.subtle.sign('HMAC', await key, new TextEncoder().encode(text));
    // One character per byte. Each request needs a key, so hexadecimal digits would cost time.
    return String.fromCharCode(...new Uint8Array(mac));
  };
}
