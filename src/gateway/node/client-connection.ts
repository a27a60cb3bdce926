import type { Socket } from 'node:net';
import { withoutMapping } from '../../base/net/address-group.ts';
import type { ConnectionGuard } from '../../base/server/connection-guard.ts';
import type { TrustedProxies } from '../../base/server/trusted-proxies.ts';
import type { CertificateIdentity } from '../../access/request-authenticator.ts';
import type { ForwardedClient } from '../request-headers.ts';

/** A request of HTTP/1.1 that waits for the answer to the request before it. */
type Next = () => void;

/** One connection of a client: its address, its credential, its limits. */
export class ClientConnection {
  readonly certificate: CertificateIdentity | undefined;
  readonly #socket: Socket;
  readonly #guard: ConnectionGuard;
  readonly #client: Omit<ForwardedClient, 'host'>;
  #isAuthenticated = false;
  #openRequests = 0;
  #next: Next | undefined;
  #isLast = false;

  constructor(
    socket: Socket,
    {
      guard,
      trustedProxies,
      certificate,
    }: {
      readonly guard: ConnectionGuard;
      readonly trustedProxies: TrustedProxies | undefined;
      readonly certificate: CertificateIdentity | undefined;
    },
  ) {
    this.#socket = socket;
    this.#guard = guard;
    this.certificate = certificate;
    const address = withoutMapping(socket.remoteAddress ?? '');
    this.#client = {
      address,
      scheme: 'encrypted' in socket ? 'https' : 'http',
      isTrustedProxy: trustedProxies?.includes(address) === true,
    };
  }

  client(host: string | undefined): ForwardedClient {
    return { ...this.#client, host };
  }

  /** A request has started. */
  started(): void {
    if (this.#openRequests++ === 0 && !this.#isAuthenticated) {
      this.#guard.begin(this.#socket, () => {});
    }
  }

  /** A request of HTTP/1.1. One waits for the request before it, a third ends the connection. */
  inTurn(start: Next): void {
    if (this.#isLast) return;
    if (this.#openRequests === 0) start();
    else if (this.#next === undefined) this.#next = start;
    else this.#socket.destroy();
  }

  /** A request has ended. */
  ended(): void {
    if (--this.#openRequests > 0) return;
    if (!this.#isAuthenticated) this.#guard.end(this.#socket);
    const next = this.#next;
    this.#next = undefined;
    if (!this.#socket.destroyed && !this.#isLast) next?.();
  }

  /** The connection ends with the answer to the current request. Others behind it are dropped. */
  acceptNoMore(): void {
    this.#isLast = true;
  }

  /** A server has accepted the client's credential. The limits of strangers end. */
  readonly authenticated = (): void => {
    if (this.#isAuthenticated) return;
    this.#isAuthenticated = true;
    this.#guard.authenticated(this.#socket);
  };
}
