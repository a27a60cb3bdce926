/** A text holds no certificate, request or key that can be read. The message never holds a key. */
export class X509Error extends Error {
  override readonly name = 'X509Error';
}

/**
 * Returns the result of `read`.
 *
 * @throws X509Error the input cannot be read as `what`
 */
export function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch {
    // The cause is left out, because parsers quote their input.
    throw new X509Error(`it cannot be read as ${what}`);
  }
}

/** Copies bytes to a buffer of their own, which WebCrypto and the package require. */
export function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}
