import type { CertificateIdentity } from '../access/request-authenticator.ts';
import type { HeaderList, HttpExchangeOptions } from '../http-exchange/http-exchange.ts';
import type { ForwardedClient } from './request-headers.ts';
import type { RequestRoute } from './request-url.ts';

/** A request as a server of any kind received it. */
export interface IncomingRequest {
  readonly method: string;
  /** The request target, byte for byte. */
  readonly target: string;
  readonly headers: HeaderList;
  readonly client: ForwardedClient;
  readonly hasBody: boolean;
  /** The certificate that the listener has verified (default: none). */
  readonly certificate?: CertificateIdentity | undefined;
}

/** A request that may be forwarded. */
export interface AdmittedRequest {
  readonly exchange: Omit<HttpExchangeOptions, 'signal'>;
  readonly route: RequestRoute;
  /** The Host header that the server receives. */
  readonly host: string;
  /** The protocol that the client asks for. It sends nothing before the answer. */
  readonly upgrade: string | undefined;
}
