/**
 * Fields for one connection only (RFC 9110, section 7.6.1; RFC 9112, section 9; RFC 7540, section
 * 3.2.1), in lower case. `Connection` can name more.
 */
export const connectionFields: ReadonlySet<string> = new Set([
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
