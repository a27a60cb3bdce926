/** Splits a PEM text into its public keys. A text without a key is returned whole. */
export function publicKeyBlocks(pem: string): readonly string[] {
  return pem.match(/-----BEGIN [A-Z ]+-----[^-]*-----END [A-Z ]+-----/g) ?? [pem];
}
