import type { Socket } from 'node:net';
import type { Clock, Timer } from '../../base/clock.ts';
import { withoutMapping } from '../../base/net/address-group.ts';
import type { ConnectionGuard } from '../../base/server/connection-guard.ts';
import type { TrustedProxies } from '../../base/server/trusted-proxies.ts';
import type { CertificateIdentity } from '../../access/request-authenticator.ts';
import type { ForwardedClient } from '../request-headers.ts';

/** One connection of a client: its address, its credential, its limits. */
export class ClientConnection {
  readonly certificate: CertificateIdentity | undefined;
  readonly #socket: Socket;
  readonly #guard: ConnectionGuard;
  readonly #client: Omit<ForwardedClient, 'host'>;
  #isAuthenticated = false;
  #openRequests = 0;
  readonly #clock: Clock;
  readonly #refusalTimeoutMs: number;
  /** Runs while a client without a valid credential has not read all its answers. */
  #refusal: Timer | undefined;

  constructor(
    socket: Socket,
    {
      guard,
      trustedProxies,
      certificate,
      clock,
      refusalTimeoutMs,
    }: {
      readonly guard: ConnectionGuard;
      readonly trustedProxies: TrustedProxies | undefined;
      readonly certificate: CertificateIdentity | undefined;
      readonly clock: Clock;
      /** How long a stranger may take to read the refusals of its requests, in milliseconds. */
      readonly refusalTimeoutMs: number;
    },
  ) {
    this.#socket = socket;
    this.#guard = guard;
    this.certificate = certificate;
    this.#clock = clock;
    this.#refusalTimeoutMs = refusalTimeoutMs;
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

  /** A request has ended. */
  ended(): void {
    if (--this.#openRequests > 0) return;
    this.#endRefusal();
    if (!this.#isAuthenticated) this.#guard.end(this.#socket);
  }

  /** A server has accepted the client's credential. The limits of strangers end. */
  readonly authenticated = (): void => {
    if (this.#isAuthenticated) return;
    this.#isAuthenticated = true;
    this.#endRefusal();
    this.#guard.authenticated(this.#socket);
  };

  /**
   * A request was refused. A client that reads no answers would otherwise keep one of the
   * connections of clients without a credential forever.
   */
  readonly refused = (): void => {
    if (this.#isAuthenticated || this.#refusal !== undefined) return;
    this.#refusal = this.#clock.setTimer(this.#refusalTimeoutMs, () => this.#socket.destroy());
  };

  #endRefusal(): void {
    this.#refusal?.cancel();
    this.#refusal = undefined;
  }
}
