import type { TunnelName } from '../agent-port.ts';

/** Who was let in, as the Worker tells the object of the cluster. */
export type Admitted =
  | ({ readonly role: 'agent' } & TunnelName)
  | { readonly role: 'dialer'; readonly cluster: string; readonly dialer: string };

/** On requests from the Worker to an object, which nobody else can reach; what a client sends under this name is overwritten. */
export const admittedHeader = 'Culvert-Admitted';

/** The sub-protocol that both ends must name. */
export const culvertProtocol = 'culvert.v1';

/** Header values are Latin-1 to some and UTF-8 to others: this is ASCII. */
export function encodeAdmitted(admitted: Admitted): string {
  return encodeURIComponent(JSON.stringify(admitted));
}

export function decodeAdmitted(request: { readonly headers: Headers }): Admitted | undefined {
  const text = request.headers.get(admittedHeader);
  return text === null ? undefined : (JSON.parse(decodeURIComponent(text)) as Admitted);
}
