import { randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import { DialError } from './dial-error.ts';
import type { ProxyCall, RequestPacket, ResponsePacket } from './proxy-service.ts';

/**
 * Some servers have gRPC's limit of 4 MiB per message, and a large packet delays all packets behind
 * it.
 */
const maxWriteBytes = 64 * 1024;

type State =
  | { readonly kind: 'dialing'; readonly random: string; readonly settle: Settle }
  | { readonly kind: 'open'; readonly connectId: string }
  | { readonly kind: 'closing'; readonly connectId: string; readonly onClosed: () => void }
  | { readonly kind: 'over' };

interface Settle {
  resolve(): void;
  reject(error: Error): void;
}

/**
 * A connection through a konnectivity server: one call of ProxyService/Proxy. konnectivity has no
 * half-close, so `end()` closes both directions. Written bytes are delivered, and bytes that the
 * target still sends are lost. An end by the target closes both directions too.
 */
export class KonnectivityConnection extends Duplex {
  readonly #call: ProxyCall;
  #state: State = { kind: 'over' };
  readonly #isUnreachable: () => boolean;

  /** @param isUnreachable whether a call failed because there is no connection to the server */
  constructor(call: ProxyCall, isUnreachable: () => boolean) {
    super({ allowHalfOpen: false });
    this.#call = call;
    this.#isUnreachable = isUnreachable;
    call.on('data', (packet: ResponsePacket) => this.#onPacket(packet));
    call.on('error', (error: Error) => this.#onCallEnd(error));
    call.on('end', () => this.#onCallEnd(undefined));
  }

  /** Resolves when the server has connected to `address`. @throws DialError */
  async dial(address: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    // All 63 bits, as in the Go client. With a server that loses bits, the first dial fails.
    const random = (randomBytes(8).readBigUInt64BE() >> 1n).toString();
    this.#state = { kind: 'dialing', random, settle: { resolve, reject } };
    const onAbort = (): void => this.#abandonDial(random, signal);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#send({ type: 'DIAL_REQ', dialRequest: { protocol: 'tcp', address, random } });
    if (signal.aborted) onAbort();
    try {
      await promise;
    } catch (error) {
      // In the next turn, so that a DIAL_CLS is sent before the call is cancelled.
      setImmediate(() => this.destroy());
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  override _read(): void {
    this.#call.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.#state.kind !== 'open') {
      done(new Error('the connection is closed'));
      return;
    }
    const connectID = this.#state.connectId;
    let at = 0;
    for (; at + maxWriteBytes < chunk.length; at += maxWriteBytes) {
      this.#send({
        type: 'DATA',
        data: { connectID, data: chunk.subarray(at, at + maxWriteBytes) },
      });
    }
    // An empty DATA reads as the end of the stream at some receivers.
    if (at === chunk.length) done();
    else this.#send({ type: 'DATA', data: { connectID, data: chunk.subarray(at) } }, () => done());
  }

  override _final(done: () => void): void {
    if (this.#state.kind !== 'open') {
      done();
      return;
    }
    const connectId = this.#state.connectId;
    this.#state = { kind: 'closing', connectId, onClosed: done };
    this.#send({ type: 'CLOSE_REQ', closeRequest: { connectID: connectId } });
    // CLOSE_RSP comes behind bytes that the reader may not want to read.
    this.#call.resume();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const state = this.#state;
    this.#state = { kind: 'over' };
    this.#call.cancel();
    if (state.kind === 'closing') state.onClosed();
    if (state.kind === 'dialing') {
      state.settle.reject(new DialError('tunnelclosed', 'tunnel closed: the client was closed'));
    }
    done(error);
  }

  #send(packet: RequestPacket, done?: () => void): void {
    this.#call.write(packet, done);
  }

  #onPacket(packet: ResponsePacket): void {
    switch (packet.type) {
      case 'DIAL_RSP':
        this.#onDialResponse(packet.dialResponse);
        break;
      case 'DIAL_CLS':
        if (this.#state.kind === 'dialing') {
          this.#state.settle.reject(new DialError('dialclosed', 'dial closed'));
        }
        break;
      case 'DATA':
        if (this.#isMine(packet.data.connectID)) this.#onPayload(packet.data.data);
        break;
      case 'CLOSE_RSP':
        if (this.#isMine(packet.closeResponse.connectID))
          this.#onClosed(packet.closeResponse.error);
        break;
    }
  }

  #onDialResponse(response: { error: string; connectID: string; random: string }): void {
    if (this.#state.kind !== 'dialing' || response.random !== this.#state.random) return;
    const { settle } = this.#state;
    if (response.error !== '') {
      settle.reject(new DialError('endpoint', response.error));
      return;
    }
    this.#state = { kind: 'open', connectId: response.connectID };
    settle.resolve();
  }

  #isMine(connectId: string): boolean {
    return (
      (this.#state.kind === 'open' || this.#state.kind === 'closing') &&
      this.#state.connectId === connectId
    );
  }

  #onPayload(payload: Buffer): void {
    if (this.#state.kind === 'open' && payload.length > 0 && !this.push(payload))
      this.#call.pause();
  }

  #onClosed(error: string): void {
    const onClosed = this.#state.kind === 'closing' ? this.#state.onClosed : undefined;
    this.#state = { kind: 'over' };
    if (error !== '' && onClosed === undefined) {
      this.destroy(new Error(error));
      return;
    }
    this.push(null);
    onClosed?.();
  }

  #onCallEnd(error: Error | undefined): void {
    const state = this.#state;
    if (state.kind === 'over') return;
    if (state.kind === 'dialing') {
      const reason = error !== undefined && this.#isUnreachable() ? 'streamsetup' : 'tunnelclosed';
      state.settle.reject(
        new DialError(
          reason,
          error === undefined ? 'tunnel closed' : `tunnel closed: ${error.message}`,
          { cause: error },
        ),
      );
      return;
    }
    this.destroy(new Error('tunnel closed', { cause: error }));
  }

  #abandonDial(random: string, signal: AbortSignal): void {
    if (this.#state.kind !== 'dialing') return;
    const { settle } = this.#state;
    const isTimeout =
      signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError';
    const error = isTimeout
      ? new DialError('timeout', 'dial timeout, backstop', { cause: signal.reason })
      : new DialError('context', 'dial timeout, context', { cause: signal.reason });
    this.#state = { kind: 'over' };
    this.#send({ type: 'DIAL_CLS', closeDial: { random } });
    settle.reject(error);
  }
}
