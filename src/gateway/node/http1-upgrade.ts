import type { Http1RequestHead } from '../../http1/request-head.ts';
import type { HeaderList } from '../../http-exchange/http-exchange.ts';
import { fieldValues, isNamed } from '../../http-exchange/upgrade.ts';

/** Protocols that a client may ask for by `Upgrade`, in lower case. */
const protocols: ReadonlySet<string> = new Set(['websocket', 'spdy/3.1']);

export interface RequestedUpgrade {
  readonly isUpgrade: boolean;
  /** The fields for the next server. */
  readonly headers: HeaderList;
  /** The reason why the request cannot be served, as a sentence. */
  readonly problem: string | undefined;
}

/** Decides whether a request changes the protocol of its connection (RFC 9110, section 7.8). */
export function readUpgrade({
  isUpgrade,
  headers,
  framing,
  problem,
}: Http1RequestHead): RequestedUpgrade {
  if (!isUpgrade) return { isUpgrade, headers, problem };
  // Several fields are one list (RFC 9110, section 5.3), which no server gets.
  const protocol = fieldValues(headers, 'upgrade').join(', ').toLowerCase();
  // A server may ignore an upgrade, and `curl --http2` offers h2c.
  if (protocol === 'h2c') {
    const others = headers.filter(([name]) => !isNamed(name, 'upgrade'));
    return { isUpgrade: false, headers: others, problem };
  }
  return { isUpgrade, headers, problem: problem ?? problemOf(protocol, framing.kind !== 'none') };
}

function problemOf(protocol: string, hasBody: boolean): string | undefined {
  if (hasBody) return 'a request to change the protocol has no body';
  if (protocols.has(protocol)) return undefined;
  return 'the protocol to upgrade to is not known; websocket and SPDY/3.1 are';
}
