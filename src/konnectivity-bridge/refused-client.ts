import type { Timer } from '../base/clock.ts';
import type { ClientConnection } from '../konnectivity/client-connection.ts';
import type { ConnectionContext } from './bridge-context.ts';

/**
 * A client whose connection ends with an answer. The rest of what it sends is read and dropped,
 * because a connection that is closed with unread bytes is reset, and the client loses the answer.
 */
export class RefusedClient {
  readonly #timer: Timer;

  /** Sends `answer`, the last bytes that the client gets. A client that does not close is closed. */
  constructor(
    { limits, clock }: Pick<ConnectionContext, 'limits' | 'clock'>,
    client: ClientConnection,
    answer: Uint8Array,
  ) {
    client.send(answer);
    client.end();
    client.resume();
    this.#timer = clock.setTimer(limits.lingerMs, () => client.abort());
  }

  onClientData(): void {}

  onClientSent(): void {}

  onClientEnd(): void {}

  onClientClose(): void {
    this.#timer.cancel();
  }
}
