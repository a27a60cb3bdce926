import { isConnectionField } from '../../http-exchange/connection-fields.ts';
import type { HeaderField, HeaderList } from '../../http-exchange/http-exchange.ts';
import { listMembers } from '../../http-exchange/upgrade.ts';

/**
 * Fields that a peer must not declare to be hop-by-hop, because another part has judged the message
 * by them.
 */
function isProtected(name: string): boolean {
  return (
    name === 'authorization' ||
    name === 'content-length' ||
    name === 'host' ||
    name.startsWith('impersonate-')
  );
}

/** The fields of a message that go on to the next connection. */
export function endToEndFields(headers: HeaderList): HeaderField[] {
  const members = listMembers(headers, 'connection');
  if (members.length === 0) return headers.filter(([name]) => !isConnectionField(name));
  // A peer may list thousands of names, and send a thousand fields.
  const listed = new Set(members);
  return headers.filter(([name]) => {
    const lower = name.toLowerCase();
    return !isConnectionField(lower) && (!listed.has(lower) || isProtected(lower));
  });
}
