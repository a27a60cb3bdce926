/** What a text is not: it holds no certificate, request or key that can be read. The sentence never holds a key. */
export class X509Error extends Error {
  override readonly name = 'X509Error';
}

/** What `read` returns. @throws X509Error it cannot, as the input is not `what` */
export function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch {
    // Without the cause: parsers quote what they choke on.
    throw new X509Error(`it cannot be read as ${what}`);
  }
}

/** In a buffer of its own, as WebCrypto and the package want it. */
export function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
