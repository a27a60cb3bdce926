import { credentialHeader } from '../../base/tokens/certificate-token.ts';
import type { ForwardedClient } from '../../gateway/request-headers.ts';
import type { AdmittedClient } from '../admitted-client.ts';

/**
 * On requests from the Worker to an object: the client that the Worker has admitted. No client can
 * reach an object, and the Worker overwrites what a client sends under this name.
 */
export const admittedHeader = 'Culvert-Admitted';

/** A request of an HTTP client, for the gateway in the object. */
export interface HttpClient extends Pick<ForwardedClient, 'address' | 'scheme' | 'host'> {
  readonly kind: 'http';
  /** The cluster of the object, also if the URL has its alias. */
  readonly cluster: string;
}

/** The WebSocket sub-protocol that both ends must name. */
export const culvertProtocol = 'culvert.v1';

/**
 * The headers of a request from the Worker to an object: those of the client, and the admitted
 * client.
 */
export function forObject(of: Headers, admitted: AdmittedClient): Headers {
  const headers = new Headers(of);
  // Some runtimes read header values as Latin-1 and others as UTF-8, so the value is ASCII.
  headers.set(admittedHeader, encodeURIComponent(JSON.stringify(admitted)));
  // The object does not need credentials, and cannot leak what it does not have.
  for (const name of ['Authorization', credentialHeader]) headers.delete(name);
  return headers;
}

/** Undefined: the request does not come from the Worker. */
export function decodeAdmitted(request: {
  readonly headers: Headers;
}): AdmittedClient | HttpClient | undefined {
  const text = request.headers.get(admittedHeader);
  if (text === null) return undefined;
  return JSON.parse(decodeURIComponent(text)) as AdmittedClient | HttpClient;
}

/** The request of an HTTP client for the object, with its credentials. */
export function forGateway(of: Request, client: HttpClient): Request {
  const request = new Request(of, { redirect: 'manual' });
  request.headers.set(admittedHeader, encodeURIComponent(JSON.stringify(client)));
  return request;
}
