import { isConnectionField } from '../../http-exchange/connection-fields.ts';
import type { HeaderList } from '../../http-exchange/http-exchange.ts';
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
export function endToEndFields(headers: HeaderList): [string, string][] {
  const listed = listMembers(headers, 'connection');
  const kept: [string, string][] = [];
  for (const [name, value] of headers) {
    if (isConnectionField(name) || (listed.length > 0 && isListed(name, listed))) continue;
    kept.push([name, value]);
  }
  return kept;
}

function isListed(name: string, listed: readonly string[]): boolean {
  const lower = name.toLowerCase();
  return listed.includes(lower) && !isProtected(lower);
}
