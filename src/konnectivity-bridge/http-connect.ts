import type {
  AcceptConnection,
  ClientConnection,
  ClientConnectionHandler,
} from '../konnectivity/client-connection.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';
import type { BridgeContext } from './bridge-context.ts';
import { ByteConnection, type DialAnswers } from './byte-connection.ts';
import { readConnectRequest, RequestHead } from './connect-request.ts';
import { connectionEstablished, refusalAnswer } from './http-answers.ts';
import { RefusedClient } from './refused-client.ts';

/**
 * kube-apiserver fails a dial if it reads a byte together with the head, and Go's
 * `http.Transport` drops such bytes.
 */
const answers: DialAnswers = {
  connected: connectionEstablished,
  holdsTarget: true,
  refused: refusalAnswer,
};

/** Serves HTTP CONNECT (RFC 9110, section 9.3.6) on connections whose first bytes are HTTP/1. */
export function acceptHttpConnect(context: BridgeContext): AcceptConnection {
  return (client) => new HttpConnectClient(context, client);
}

/** A connection of an HTTP/1 client: the head of its request, then the bytes of the tunnel. */
class HttpConnectClient implements ClientConnectionHandler {
  readonly #context: BridgeContext;
  readonly #client: ClientConnection;
  readonly #head = new RequestHead();
  /** Undefined while the head is being read. */
  #next: ByteConnection | RefusedClient | undefined;

  constructor(context: BridgeContext, client: ClientConnection) {
    this.#context = context;
    this.#client = client;
  }

  onData(bytes: Uint8Array): void {
    if (this.#next !== undefined) return this.#next.onClientData(bytes);
    try {
      const end = this.#head.push(bytes);
      if (end === undefined) return;
      this.#next = this.#dial(readConnectRequest(this.#head.lines));
      if (end < bytes.length) this.#next.onClientData(bytes.subarray(end));
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

  #dial(address: string): ByteConnection {
    const { resolve, dialerFor, log, httpConnections: connections } = this.#context;
    const destination = resolve('tcp', address);
    const { peer } = this.#client;
    log.debug('dial', { peer, address, cluster: destination.cluster });
    this.#client.admitted();
    return new ByteConnection(this.#context, {
      client: this.#client,
      destination,
      answers,
      connections,
      dialer: dialerFor(this.#client.subject),
    });
  }

  #refuse(error: KonnectivityError): void {
    const { log, dialFailed } = this.#context;
    if (error.code === 'unknown_destination') {
      dialFailed('no_agent');
    } else {
      log.warn('HTTP client sent a bad request', {
        peer: this.#client.peer,
        code: error.code,
        error: error.message,
      });
    }
    this.#next = new RefusedClient(this.#context, this.#client, refusalAnswer(error));
  }
}
