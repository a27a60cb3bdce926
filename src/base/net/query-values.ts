/**
 * The values of a query in order, as Go's `url.ParseQuery` reads them, because the kube-apiserver
 * does. A pair with a semicolon or a wrong escape is dropped.
 *
 * @param query without the question mark
 */
export function queryValues(query: string): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (const pair of query.split('&')) {
    if (pair === '' || pair.includes(';')) continue;
    const equals = pair.indexOf('=');
    const key = unescape(equals < 0 ? pair : pair.slice(0, equals));
    const value = unescape(equals < 0 ? '' : pair.slice(equals + 1));
    if (key === undefined || value === undefined) continue;
    const known = values.get(key);
    if (known === undefined) values.set(key, [value]);
    else known.push(value);
  }
  return values;
}

/**
 * A parameter as a boolean, as the kube-apiserver converts it: the first value counts, and all
 * texts except `false` and `0` are true, also the empty one.
 *
 * @param values of the parameter; undefined: the query does not have it
 */
export function isTrueValue(values: readonly string[] | undefined): boolean {
  const first = values?.[0]?.toLowerCase();
  return first !== undefined && first !== '0' && first !== 'false';
}

function unescape(text: string): string | undefined {
  const plain = text.replaceAll('+', ' ');
  try {
    return decodeURIComponent(plain);
  } catch {
    // A value whose bytes are not UTF-8 counts in Go, too.
    return /%(?![\dA-Fa-f]{2})/.test(plain) ? undefined : plain.replaceAll(escapes, decodedBytes);
  }
}

const escapes = /(?:%[\dA-Fa-f]{2})+/g;
const utf8 = new TextDecoder('utf-8', { fatal: false, ignoreBOM: true });

function decodedBytes(escaped: string): string {
  const bytes = escaped.slice(1).split('%');
  return utf8.decode(Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16)));
}
