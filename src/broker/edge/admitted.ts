import { credentialHeader } from '../../base/tokens/certificate-token.ts';
import type { TunnelName } from '../tunnel-name.ts';

/** Who was let in, as the Worker tells the object of the cluster. */
export type Admitted =
  | ({ readonly role: 'agent' } & TunnelName)
  | { readonly role: 'dialer'; readonly cluster: string; readonly dialer: string };

/** On requests from the Worker to an object, which nobody else can reach; what a client sends under this name is overwritten. */
const admittedHeader = 'Culvert-Admitted';

/** The sub-protocol that both ends must name. */
export const culvertProtocol = 'culvert.v1';

/** What of a client's headers the object gets, and who was let in. */
export function forObject(of: Headers, admitted: Admitted): Headers {
  const headers = new Headers(of);
  // Header values are Latin-1 to some and UTF-8 to others: this is ASCII.
  headers.set(admittedHeader, encodeURIComponent(JSON.stringify(admitted)));
  // The object has no use for credentials, and what it does not have it cannot tell.
  for (const name of ['Authorization', credentialHeader]) headers.delete(name);
  return headers;
}

export function decodeAdmitted(request: { readonly headers: Headers }): Admitted | undefined {
  const text = request.headers.get(admittedHeader);
  return text === null ? undefined : (JSON.parse(decodeURIComponent(text)) as Admitted);
}
