import { Secret } from '../base/secret.ts';
import type { Dialer } from '../dialer/dialer.ts';
import type {
  AcceptConnection,
  ClientConnection,
  ClientConnectionHandler,
} from '../konnectivity/client-connection.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import type { BridgeContext } from './bridge-context.ts';
import { ByteConnection, type DialAnswers } from './byte-connection.ts';
import { RefusedClient } from './refused-client.ts';
import {
  credentialsAnswer,
  methodAnswer,
  requestAnswer,
  type Socks5Credentials,
  Socks5Input,
  Socks5Method,
  type Socks5Request,
} from './socks5-message.ts';
import { replyOf, Socks5Reply } from './socks5-reply.ts';

export interface Socks5Options {
  /** Refuses clients that show no token. */
  readonly requiresToken: boolean;
  /** The dialer with the rights of a token; undefined: there is no room for another token. */
  readonly dialerOf: (token: Secret) => Pick<Dialer, 'open'> | undefined;
}

/** The form of a token (a JWT). Other passwords are refused without asking a broker. */
const tokenForm = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/**
 * Serves SOCKS 5 (RFC 1928), the command CONNECT. A client that shows a token as user and password
 * (RFC 1929) has the rights of the token. Both together are the token, because each holds at most
 * 255 bytes and a token has more. The broker verifies the token when the client dials.
 */
export function acceptSocks5(context: BridgeContext, options: Socks5Options): AcceptConnection {
  return (client) => new Socks5Client(context, options, client);
}

type State = 'greeting' | 'credentials' | 'request';

/** A connection of a SOCKS 5 client: greeting, credentials, request, then the target's bytes. */
class Socks5Client implements ClientConnectionHandler {
  readonly #context: BridgeContext;
  readonly #options: Socks5Options;
  readonly #client: ClientConnection;
  readonly #input = new Socks5Input();
  #state: State = 'greeting';
  #dialer: Pick<Dialer, 'open'> | undefined;
  /** Undefined until the client has sent its request, or was refused. */
  #next: ByteConnection | RefusedClient | undefined;

  constructor(context: BridgeContext, options: Socks5Options, client: ClientConnection) {
    this.#context = context;
    this.#options = options;
    this.#client = client;
  }

  onData(bytes: Uint8Array): void {
    if (this.#next !== undefined) return this.#next.onClientData(bytes);
    this.#input.push(bytes);
    try {
      // A client may send its messages without waiting for answers.
      while (this.#next === undefined && this.#takeMessage());
    } catch (error) {
      if (!(error instanceof KonnectivityError)) throw error;
      this.#refuse(error);
    }
  }

  onSent(): void {
    this.#next?.onClientSent();
  }

  onEnd(): void {
    if (this.#next === undefined) this.#client.abort();
    else this.#next.onClientEnd();
  }

  onClose(): void {
    this.#next?.onClientClose();
  }

  /** Returns whether there was a whole message. */
  #takeMessage(): boolean {
    if (this.#state === 'greeting') {
      const methods = this.#input.takeMethods();
      if (methods !== undefined) this.#onMethods(methods);
      return methods !== undefined;
    }
    if (this.#state === 'credentials') {
      const credentials = this.#input.takeCredentials();
      if (credentials !== undefined) this.#onCredentials(credentials);
      return credentials !== undefined;
    }
    const request = this.#input.takeRequest();
    if (request !== undefined) this.#onRequest(request);
    return request !== undefined;
  }

  /** A client that offers a password has one to show. */
  #onMethods(offered: readonly number[]): void {
    if (offered.includes(Socks5Method.password)) {
      this.#client.send(methodAnswer(Socks5Method.password));
      this.#state = 'credentials';
    } else if (offered.includes(Socks5Method.none) && !this.#options.requiresToken) {
      this.#client.send(methodAnswer(Socks5Method.none));
      this.#state = 'request';
    } else {
      const reason = this.#options.requiresToken
        ? 'it shows no token as user and password'
        : 'it offers no method of authentication that is known here';
      this.#logRefusal({ reason });
      this.#end(methodAnswer(Socks5Method.noneAcceptable));
    }
  }

  #onCredentials({ user, password }: Socks5Credentials): void {
    const text = user + password;
    const isToken = tokenForm.test(text);
    this.#dialer = isToken ? this.#options.dialerOf(new Secret(text)) : undefined;
    if (this.#dialer === undefined) {
      const reason = isToken
        ? 'too many tokens are in use'
        : 'user and password together are not a token';
      this.#logRefusal({ reason });
      this.#end(credentialsAnswer(false));
      return;
    }
    this.#client.send(credentialsAnswer(true));
    this.#state = 'request';
  }

  #onRequest({ kind, address }: Socks5Request): void {
    const { resolve, isSingleCluster, log, socksConnections: connections } = this.#context;
    const { dialerFor } = this.#context;
    const { peer } = this.#client;
    if (kind !== 'name' && !isSingleCluster) {
      this.#logRefusal({
        address,
        reason: 'an address names no cluster: the proxy must resolve names',
      });
      this.#end(requestAnswer(Socks5Reply.addressTypeNotSupported));
      return;
    }
    const destination = resolve('tcp', address);
    log.debug('dial', { peer, address, cluster: destination.cluster });
    this.#client.admitted();
    this.#next = new ByteConnection(this.#context, {
      client: this.#client,
      destination,
      answers: this.#answersFor(address),
      connections,
      // The broker decides about a token. Without a token, the certificate is the credential.
      dialer: this.#dialer ?? dialerFor(this.#client.subject),
    });
    const { rest } = this.#input;
    if (rest.length > 0) this.#next.onClientData(rest);
  }

  #answersFor(address: string): DialAnswers {
    return {
      connected: requestAnswer(Socks5Reply.succeeded),
      // Clients read the ten bytes of the answer and no more.
      holdsTarget: false,
      refused: ({ code, message }: TunnelError) => {
        const { log } = this.#context;
        log.info('SOCKS 5 dial failed', {
          peer: this.#client.peer,
          address,
          code,
          error: message,
        });
        return requestAnswer(replyOf(code));
      },
    };
  }

  #refuse(error: KonnectivityError): void {
    this.#logRefusal({ code: error.code, error: error.message });
    if (error.code === 'unknown_destination') this.#context.dialFailed('no_agent');
    switch (this.#state) {
      case 'greeting':
        return this.#end(methodAnswer(Socks5Method.noneAcceptable));
      case 'credentials':
        return this.#end(credentialsAnswer(false));
      case 'request':
        return this.#end(requestAnswer(replyOf(error.code)));
    }
  }

  #end(answer: Uint8Array): void {
    this.#next = new RefusedClient(this.#context, this.#client, answer);
  }

  #logRefusal(fields: {
    readonly code?: string;
    readonly error?: string;
    readonly address?: string;
    readonly reason?: string;
  }): void {
    this.#context.log.warn('SOCKS 5 client refused', { peer: this.#client.peer, ...fields });
  }
}
