import type { HeaderList } from './http-exchange.ts';

/** The values of a field, whose name is given in lower case. */
export function* fieldValues(headers: HeaderList, name: string): Iterable<string> {
  for (const [field, value] of headers) {
    if (field.length === name.length && field.toLowerCase() === name) yield value;
  }
}

/** The members of a field that is a list, in lower case (RFC 9110, section 5.6.1). */
export function* listMembers(headers: HeaderList, name: string): Iterable<string> {
  for (const value of fieldValues(headers, name)) {
    for (const member of value.split(',')) {
      const text = member.trim().toLowerCase();
      if (text !== '') yield text;
    }
  }
}

/**
 * Whether a request asks for another protocol (RFC 9110, section 7.8). Only such a request may be
 * answered by 101.
 */
export function isUpgradeRequest({ headers }: { readonly headers: HeaderList }): boolean {
  let hasProtocol = false;
  for (const protocol of listMembers(headers, 'upgrade')) hasProtocol ||= protocol !== '';
  if (!hasProtocol) return false;
  for (const option of listMembers(headers, 'connection')) if (option === 'upgrade') return true;
  return false;
}
