import type { TunnelError } from '../tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../tunnel/stream-handler.ts';

/**
 * A stream that is opened after its user has got it, because something must be waited for first. It
 * is a handler of the opened stream, and passes on what its subclass does not change.
 */
export abstract class DeferredStream implements TunnelStream, StreamHandler {
  protected readonly handler: StreamHandler;
  /** Undefined while the stream waits. */
  protected stream: TunnelStream | undefined;

  constructor(handler: StreamHandler) {
    this.handler = handler;
  }

  get number(): number {
    return this.stream?.number ?? 0;
  }

  abstract write(bytes: Uint8Array): boolean;

  fin(): void {
    this.stream?.fin();
  }

  abstract reset(error: TunnelError): void;

  abstract consumed(bytes: number): void;

  stopReceiving(): void {
    this.stream?.stopReceiving();
  }

  onOpened(): void {
    this.handler.onOpened?.();
  }

  onData(bytes: Uint8Array): void {
    this.handler.onData(bytes);
  }

  onFin(): void {
    this.handler.onFin();
  }

  onWritable(): void {
    this.handler.onWritable();
  }

  onStop(): void {
    this.handler.onStop?.();
  }

  abstract onClose(error: TunnelError | undefined): void;
}
