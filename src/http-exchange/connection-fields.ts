/**
 * Fields for one connection only (RFC 9110, section 7.6.1; RFC 9112, section 9; RFC 7540, section
 * 3.2.1), in lower case. `Connection` can name more.
 */
const connectionFields: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
]);

/** Few other names have one of these lengths, so that most names need no lower case. */
const lengths: ReadonlySet<number> = new Set(Array.from(connectionFields, ({ length }) => length));

/** Whether a field is for one connection only. */
export function isConnectionField(name: string): boolean {
  return lengths.has(name.length) && connectionFields.has(name.toLowerCase());
}
