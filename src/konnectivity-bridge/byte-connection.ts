import type { Timer } from '../base/clock.ts';
import { GrowingBytes } from '../base/growing-bytes.ts';
import type { Dialer } from '../dialer/dialer.ts';
import type { ClientConnection } from '../konnectivity/client-connection.ts';
import type { TunnelError } from '../tunnel/errors.ts';
import type { TunnelStream } from '../tunnel/stream-handler.ts';
import type { BridgeContext } from './bridge-context.ts';
import { ByteSink, ClientWriter } from './client-writer.ts';
import type { Destination } from './destination.ts';
import { type ConnectionHandler, ProxiedConnection } from './proxied-connection.ts';
import { RefusedClient } from './refused-client.ts';

/** How many bytes a client may send before its dial is answered. Then it is not read. */
const maxEarlyBytes = 64 * 1024;

/** The words of a protocol in which a client is answered. */
export interface DialAnswers {
  /** Sent alone when the agent has connected, before any byte of the target. */
  readonly connected: Uint8Array;
  /**
   * Whether clients lose bytes that they read together with the answer. The target's first bytes
   * are then held until the client has sent something, or for `holdMs`.
   */
  readonly holdsTarget: boolean;
  /** The last bytes that a client gets whose dial has failed. */
  refused(error: TunnelError): Uint8Array;
}

export interface ByteConnectionOptions {
  readonly client: ClientConnection;
  readonly destination: Destination;
  readonly answers: DialAnswers;
  /** Holds the connection until it has ended. */
  readonly connections: Set<object>;
  /** Makes the dial, with the rights of the client. */
  readonly dialer: Pick<Dialer, 'open'>;
}

type State = 'dialing' | 'open' | 'refused' | 'over';

/**
 * A proxied connection of a client whose protocol becomes plain bytes after the answer to its
 * request, such as HTTP CONNECT. FIN and reset pass in both directions. Takes the events of the
 * client from the request on.
 */
export class ByteConnection implements ConnectionHandler {
  readonly #context: BridgeContext;
  readonly #client: ClientConnection;
  readonly #answers: DialAnswers;
  readonly #connections: Set<object>;
  readonly #connection: ProxiedConnection;
  #state: State = 'dialing';
  /** What the client sent before its dial was answered. */
  readonly #early = new GrowingBytes();
  /** The client sends no more. */
  #isClientFinished = false;
  /** The target sends no more. */
  #isTargetFinished = false;
  #writer: ClientWriter | undefined;
  #refused: RefusedClient | undefined;
  #holdTimer: Timer | undefined;

  /** Dials at once. */
  constructor(context: BridgeContext, options: ByteConnectionOptions) {
    const { client, destination, answers, connections } = options;
    this.#context = context;
    this.#client = client;
    this.#answers = answers;
    this.#connections = connections;
    connections.add(this);
    const dialer = context.shares.dialerOf(client.subject, options.dialer);
    this.#connection = new ProxiedConnection(context, destination, this, dialer);
  }

  /** Bytes from the client, as in `ClientConnectionHandler`. */
  onClientData(bytes: Uint8Array): void {
    if (this.#state === 'open') {
      if (this.#connection.isClientClosed) {
        // Bytes for the client must not be lost.
        if (this.#writer!.isHolding) this.#endHold();
        // As a socket answers bytes that no program will read.
        else if (this.#client.queuedBytes === 0) this.#client.abort();
        return;
      }
      const mayContinue = this.#connection.write(bytes);
      // The client has read the answer.
      if (this.#writer!.isHolding) this.#endHold();
      if (!mayContinue) this.#client.pause();
    } else if (this.#state === 'dialing') {
      this.#early.append(bytes);
      if (this.#early.length >= maxEarlyBytes) this.#client.pause();
    }
  }

  /** Some of what was sent to the client has left the process. */
  onClientSent(): void {
    this.#writer?.onSent();
  }

  /** The client sends no more. */
  onClientEnd(): void {
    this.#isClientFinished = true;
    if (this.#state === 'open') {
      this.#connection.finishWriting();
    } else if (this.#state === 'dialing' && this.#early.length === 0) {
      // A program that gives up its dial closes, and TCP cannot tell that from half-close. A client
      // that has written something already gets it delivered.
      this.#client.abort();
    }
  }

  /** The client's connection has ended. */
  onClientClose(): void {
    this.#holdTimer?.cancel();
    this.#refused?.onClientClose();
    if (this.#state === 'dialing') this.#connection.abandon();
    if (this.#state === 'open') this.#leaveTarget();
    this.#state = 'over';
    this.#connections.delete(this);
    this.#context.onEnded();
  }

  onOpened(tunnel: TunnelStream): void {
    const { pool, limits, clock, writeTimes } = this.#context;
    const { connected, holdsTarget } = this.#answers;
    this.#state = 'open';
    const early = this.#early.take();
    // A client that sent bytes early does not wait for the answer before it reads on.
    const isHolding = holdsTarget && early.length === 0;
    this.#writer = new ClientWriter({
      sink: new ByteSink(this.#client),
      tunnel,
      pool,
      maxQueuedBytes: limits.maxQueuedBytes,
      writeTimes,
      isHolding,
    });
    this.#client.send(connected);
    if (isHolding) this.#holdTimer = clock.setTimer(limits.holdMs, () => this.#endHold());
    const mayContinue = early.length === 0 || this.#connection.write(early);
    const wasPaused = early.length >= maxEarlyBytes;
    if (this.#isClientFinished) this.#connection.finishWriting();
    else if (!mayContinue) this.#client.pause();
    else if (wasPaused) this.#client.resume();
  }

  onRefused(error: TunnelError): void {
    this.#state = 'refused';
    this.#early.take();
    this.#refused = new RefusedClient(this.#context, this.#client, this.#answers.refused(error));
  }

  onData(bytes: Uint8Array): void {
    this.#writer!.write(bytes);
  }

  onTargetFin(): void {
    this.#isTargetFinished = true;
    if (!this.#writer!.isHolding) this.#endClient();
  }

  /** A connection that was cut must not look complete to the client. */
  onTargetClosed(error: TunnelError | undefined): void {
    if (error !== undefined) {
      this.#writer!.discard();
      this.#client.abort();
    } else if (!this.#isTargetFinished) {
      this.onTargetFin();
    }
    this.#connection.closeClient();
  }

  onTunnelClosed(): void {
    this.#writer?.detachTunnel();
  }

  onWritable(): void {
    this.#client.resume();
  }

  #endHold(): void {
    this.#holdTimer?.cancel();
    this.#writer!.release();
    if (this.#isTargetFinished) this.#client.end();
  }

  #endClient(): void {
    this.#writer!.flush();
    this.#client.end();
  }

  /**
   * A client that has finished gets delivered what it wrote, and wants no more bytes. A client that
   * was cut off resets its target.
   */
  #leaveTarget(): void {
    this.#writer!.discard();
    if (!this.#isClientFinished) {
      this.#connection.abandon();
    } else if (!this.#connection.isClientClosed) {
      if (!this.#isTargetFinished) this.#connection.stopReceiving();
      this.#connection.closeClient();
    }
  }
}
