/** The keys of a PEM text that may hold several, one after the other. A text without any is given back whole. */
export function publicKeyBlocks(pem: string): readonly string[] {
  return pem.match(/-----BEGIN [A-Z ]+-----[^-]*-----END [A-Z ]+-----/g) ?? [pem];
}
