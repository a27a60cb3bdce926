import type { OwnerOfBytes } from '../base/net/send-queue.ts';
import { encodeHeaders } from '../http2/hpack-encoder.ts';
import type { HeaderField } from '../http2/hpack-static-table.ts';
import type { Http2ServerStream } from '../http2/server-stream.ts';
import type { Http2StreamHandler } from '../http2/stream-handler.ts';
import type { FrontHandler, FrontStream } from './front.ts';
import type { CertificateSubject } from './certificate-subject.ts';
import { GrpcStatus } from './front.ts';

const head = [
  { name: ':status', value: '200' },
  { name: 'content-type', value: 'application/grpc' },
];
const plainHead = encodeHeaders(head);
const okTrailers = encodeHeaders([{ name: 'grpc-status', value: String(GrpcStatus.ok) }]);

/** The client of a call, and its connection's interest in it. */
export interface GrpcCaller {
  readonly peer: string;
  readonly subject: CertificateSubject | undefined;
  /** Calls `onAnswered` when the client has answered a PING. Never after the connection's end. */
  roundTrip(onAnswered: () => void): void;
  /** `onAnswered` is not called any more. */
  forgetRoundTrip(onAnswered: () => void): void;
  /** The call has ended. */
  callEnded(): void;
}

/** A gRPC call on a stream of HTTP/2. */
export class GrpcCall implements FrontStream, Http2StreamHandler {
  readonly #stream: Http2ServerStream;
  readonly #fields: readonly HeaderField[];
  readonly #caller: GrpcCaller;
  #handler: FrontHandler | undefined;
  /** What waits for an answer of the client; undefined: nothing does. */
  #roundTrips: Set<() => void> | undefined;

  constructor(stream: Http2ServerStream, fields: readonly HeaderField[], caller: GrpcCaller) {
    this.#stream = stream;
    this.#fields = fields;
    this.#caller = caller;
  }

  get peer(): string {
    return this.#caller.peer;
  }

  get subject(): CertificateSubject | undefined {
    return this.#caller.subject;
  }

  get queuedBytes(): number {
    return this.#stream.queuedBytes;
  }

  get queuedPackets(): number {
    return this.#stream.queuedPieces;
  }

  handle(handler: FrontHandler): void {
    this.#handler = handler;
  }

  metadata(name: string): readonly string[] {
    return this.#fields.filter((field) => field.name === name).map((field) => field.value);
  }

  respond(metadata?: Readonly<Record<string, string>>): void {
    if (this.#stream.isHeadSent) return;
    this.#stream.respond(metadata === undefined ? plainHead : headWith(metadata));
  }

  send(bytes: Uint8Array, owner?: OwnerOfBytes): void {
    this.respond();
    this.#stream.send(bytes, owner);
  }

  roundTrip(onAnswered: () => void): void {
    const answered = (): void => {
      if (this.#roundTrips?.delete(answered) !== true) return;
      if (this.#roundTrips.size === 0) this.#roundTrips = undefined;
      onAnswered();
    };
    this.#roundTrips ??= new Set();
    this.#roundTrips.add(answered);
    this.#caller.roundTrip(answered);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  end(status: GrpcStatus, message = ''): void {
    this.respond();
    this.#stream.end(
      status === GrpcStatus.ok && message === '' ? okTrailers : trailersOf(status, message),
    );
  }

  abort(): void {
    this.#stream.reset('CANCEL');
  }

  onData(bytes: Uint8Array): void {
    this.#handler?.onData(bytes);
  }

  onEnd(): void {
    this.#handler?.onEnd();
  }

  onSent(): void {
    this.#handler?.onSent();
  }

  onClose(): void {
    for (const answered of this.#roundTrips ?? []) this.#caller.forgetRoundTrip(answered);
    this.#roundTrips = undefined;
    this.#caller.callEnded();
    this.#handler?.onClose();
  }
}

/** Answers a call with a gRPC status and without a body. */
export function refuseCall(stream: Http2ServerStream, status: GrpcStatus, message: string): void {
  stream.answer(encodeHeaders([...head, ...statusFields(status, message)]));
}

/** Answers a request that is no gRPC call. */
export function refuseRequest(stream: Http2ServerStream, status: number): void {
  stream.answer(encodeHeaders([{ name: ':status', value: String(status) }]));
}

function headWith(metadata: Readonly<Record<string, string>>): Uint8Array {
  const fields = Object.entries(metadata).map(([name, value]) => ({ name, value }));
  return encodeHeaders([...head, ...fields]);
}

function trailersOf(status: GrpcStatus, message: string): Uint8Array {
  return encodeHeaders(statusFields(status, message));
}

function statusFields(status: GrpcStatus, message: string) {
  const fields = [{ name: 'grpc-status', value: String(status) }];
  if (message !== '') fields.push({ name: 'grpc-message', value: encodeURIComponent(message) });
  return fields;
}
