import { isConnectionField } from '../http-exchange/connection-fields.ts';
import type { HeaderField, HeaderList } from '../http-exchange/http-exchange.ts';
import { isNamed, isUpgradeRequest } from '../http-exchange/upgrade.ts';
import { GatewayError } from './gateway-error.ts';

/**
 * Fields that no client names in `Connection`, because every server needs them. A client that does
 * tries to remove them after they were checked.
 */
const neverHopByHop =
  /^(?:host|content-length|content-type|expect|authorization|forwarded|x-forwarded-.*|impersonate-.*)$/;

/** The client's connection, as servers learn of it by X-Forwarded-*. */
export interface ForwardedClient {
  readonly address: string;
  readonly scheme: 'http' | 'https';
  readonly host: string | undefined;
  /** The client is a proxy whose X-Forwarded-* are true. */
  readonly isTrustedProxy: boolean;
}

/** What the gateway needs to know of a request's header fields. */
export interface ReadHeaders {
  /** The fields for the next server, in the client's order and spelling. */
  readonly forwarded: HeaderField[];
  readonly authorization: readonly string[];
  readonly host: string | undefined;
  /** The protocol that the client asks for. It is in `forwarded` as well. Undefined: none. */
  readonly upgrade: string | undefined;
}

/** The field name that a server may take a name for. Some servers read `_` as `-`. */
function meantName(lowerName: string): string {
  return lowerName.includes('_') ? lowerName.replaceAll('_', '-') : lowerName;
}

/**
 * Removes the fields that are for the gateway alone, and adds X-Forwarded-*. Fields of
 * impersonation remain (`withoutImpersonation`), unless they are spelled with underscores.
 *
 * @throws GatewayError `BadRequest` the fields have several meanings
 */
export function readRequestHeaders(headers: HeaderList, client: ForwardedClient): ReadHeaders {
  const named = namedByConnection(headers);
  const forwarded: HeaderField[] = [];
  const authorization: string[] = [];
  const forwardedFor: string[] = [];
  let host: string | undefined;
  let forwardedHost: string | undefined;
  let forwardedProto: string | undefined;
  let upgrade: string | undefined;
  let acceptsTrailers = false;
  for (const field of headers) {
    const [name, value] = field;
    const lower = name.toLowerCase();
    if (lower === 'upgrade') upgrade = value.trim();
    else if (lower === 'te') acceptsTrailers ||= /(?:^|,)\s*trailers\s*(?:$|,)/i.test(value);
    if (isConnectionField(lower) || named.has(lower)) continue;
    const meant = meantName(lower);
    if (meant.startsWith('cluster-proxy-')) continue;
    if (meant !== lower && isGuarded(meant)) continue;
    switch (lower) {
      case 'x-forwarded-for':
        forwardedFor.push(value);
        continue;
      case 'x-forwarded-host':
        forwardedHost = value;
        continue;
      case 'x-forwarded-proto':
        forwardedProto = value;
        continue;
      case 'authorization':
        authorization.push(value);
        break;
      case 'host':
        host = value;
        break;
    }
    forwarded.push(field);
  }
  const { isTrustedProxy } = client;
  forwarded.push(
    ['X-Forwarded-For', [...forwardedFor, client.address].join(', ')],
    ['X-Forwarded-Proto', (isTrustedProxy ? forwardedProto : undefined) ?? client.scheme],
  );
  const seenHost = (isTrustedProxy ? forwardedHost : undefined) ?? client.host ?? host;
  if (seenHost !== undefined) forwarded.push(['X-Forwarded-Host', seenHost]);
  if (acceptsTrailers) forwarded.push(['TE', 'trailers']);
  if (upgrade !== undefined && !isUpgradeRequest({ headers })) upgrade = undefined;
  if (upgrade !== undefined) forwarded.push(['Connection', 'Upgrade'], ['Upgrade', upgrade]);
  return { forwarded, authorization, host, upgrade };
}

/** Fields that the gateway reads or sets, so that no other spelling may pass beside them. */
function isGuarded(name: string): boolean {
  return (
    name.startsWith('impersonate-') ||
    name.startsWith('x-forwarded-') ||
    name.startsWith('x-remote-') ||
    name === 'authorization' ||
    name === 'content-length' ||
    name === 'transfer-encoding'
  );
}

const noNames: ReadonlySet<string> = new Set();

function namedByConnection(headers: HeaderList): ReadonlySet<string> {
  let names: Set<string> | undefined;
  for (const [field, value] of headers) {
    if (!isNamed(field, 'connection')) continue;
    for (const part of value.split(',')) {
      const name = part.trim().toLowerCase();
      if (neverHopByHop.test(meantName(name))) {
        throw new GatewayError('BadRequest', `the header Connection must not name ${name}`, {
          hop: 'client',
        });
      }
      (names ??= new Set()).add(name);
    }
  }
  return names ?? noNames;
}

/**
 * The fields without the caller's credentials and without any spelling of `Impersonate-*`, and with
 * an impersonated user. The agent adds its own credentials.
 *
 * @throws GatewayError `Unauthorized` a name cannot be written into a header field
 */
export function withImpersonation(
  headers: HeaderList,
  user: string,
  groups: readonly string[],
): HeaderList {
  const kept = headers.filter(
    ([name]) =>
      !isNamed(name, 'authorization') && !meantName(name.toLowerCase()).startsWith('impersonate-'),
  );
  kept.push(['Impersonate-User', fieldValue(user)]);
  for (const group of groups) kept.push(['Impersonate-Group', fieldValue(group)]);
  return kept;
}

/** The fields without `Authorization`. */
export function withoutAuthorization(headers: HeaderList): HeaderList {
  return headers.filter(([name]) => !isNamed(name, 'authorization'));
}

/**
 * The bytes of a name in UTF-8, a character for each byte, as client-go writes them. A name with
 * control characters, or with spaces at its ends, would be another name after it was parsed.
 */
function fieldValue(name: string): string {
  // oxlint-disable-next-line no-control-regex -- they are looked for
  if (name === '' || name !== name.trim() || /[\u0000-\u001f\u007f]/.test(name)) {
    throw new GatewayError(
      'Unauthorized',
      'the name of the user or of a group cannot be forwarded',
    );
  }
  if (/^[\x20-\x7e]*$/.test(name)) return name;
  return Array.from(new TextEncoder().encode(name), (byte) => String.fromCharCode(byte)).join('');
}
