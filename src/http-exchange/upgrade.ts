import type { HeaderList } from './http-exchange.ts';

// Most fields that are looked for are not there, and a generator for each would cost more than the
// search.
const none: readonly string[] = [];

/** Whether a field has a name, which is given in lower case. */
export function isNamed(field: string, name: string): boolean {
  return field.length === name.length && field.toLowerCase() === name;
}

/** The values of a field, whose name is given in lower case. */
export function fieldValues(headers: HeaderList, name: string): readonly string[] {
  let values: string[] | undefined;
  for (const [field, value] of headers) {
    if (isNamed(field, name)) (values ??= []).push(value);
  }
  return values ?? none;
}

/** The members of a field that is a list, in lower case (RFC 9110, section 5.6.1). */
export function listMembers(headers: HeaderList, name: string): readonly string[] {
  const values = fieldValues(headers, name);
  if (values.length === 0) return none;
  const members = values.flatMap((value) => value.split(','));
  return members.map((member) => member.trim().toLowerCase()).filter((member) => member !== '');
}

/**
 * Whether a request asks for another protocol (RFC 9110, section 7.8). Only such a request may be
 * answered by 101.
 */
export function isUpgradeRequest({ headers }: { readonly headers: HeaderList }): boolean {
  return (
    listMembers(headers, 'upgrade').length > 0 &&
    listMembers(headers, 'connection').includes('upgrade')
  );
}
