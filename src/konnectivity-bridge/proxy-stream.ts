import type { BridgeContext } from './bridge-context.ts';
import { KonnectivityError } from '../konnectivity/konnectivity-error.ts';
import type { Destination } from './destination.ts';
import { type FrontHandler, type FrontStream, GrpcStatus } from '../konnectivity/front.ts';
import {
  encodeCloseResponse,
  encodeDialError,
  type Packet,
  PacketType,
} from '../konnectivity/packet.ts';
import type { PacketTypeNumber } from '../konnectivity/packet-counts.ts';
import { PacketConnection } from './packet-connection.ts';
import { type PacketHandler, PacketParser } from '../konnectivity/packet-parser.ts';

type ControlPacket = Exclude<Packet, { kind: 'data' }>;
type DialRequest = Extract<Packet, { kind: 'dial_request' }>;

/**
 * Most answers to packets that belong to no connection of the call. An honest client causes a few.
 */
const maxStrayAnswers = 1000;

/**
 * So many of these answers are always sent. After that, a client with as many unread packets gets
 * no more, because it does not read.
 */
const maxUnreadAnswers = 16;

/**
 * One call of `ProxyService/Proxy`: handles its packets according to the state of the call. A call
 * carries one connection in its life, as in every client (a reusable tunnel opens a call per dial).
 * A second DIAL_REQ is refused by its own DIAL_RSP, and the first connection continues.
 */
export class ProxyStream implements FrontHandler, PacketHandler {
  readonly #context: BridgeContext;
  readonly #front: FrontStream;
  readonly #parser: PacketParser;
  #connection: PacketConnection | undefined;
  #hasEnded = false;
  #strayAnswers = 0;
  #strayConnectId = 0;

  constructor(context: BridgeContext, front: FrontStream) {
    this.#context = context;
    this.#front = front;
    this.#parser = new PacketParser(this, context.packets.fromClient);
    context.calls.add(this);
  }

  onData(bytes: Uint8Array): void {
    if (this.#hasEnded) return;
    try {
      this.#parser.push(bytes);
    } catch (error) {
      if (!(error instanceof KonnectivityError)) throw error;
      this.#context.log.warn('konnectivity client sent a bad packet', {
        peer: this.#front.peer,
        code: error.code,
        error: error.message,
      });
      this.#connection?.abandon();
      this.#end(statusOf(error), error.message);
    }
  }

  onSent(): void {
    this.#connection?.onSent();
  }

  /**
   * The end of a call without a CLOSE_REQ means abort. After a CLOSE_REQ the target still gets what
   * was written.
   */
  onEnd(): void {
    this.#connection?.abandon();
    this.#end(GrpcStatus.ok);
  }

  onClose(): void {
    this.#hasEnded = true;
    this.#connection?.abandon();
    this.#context.calls.delete(this);
    this.#context.onEnded();
  }

  onPayload(connectId: number, bytes: Uint8Array): void {
    const connection = this.#connection;
    if (connection?.isOpenAs(connectId) === true) {
      connection.write(bytes);
    } else if (connectId !== 0) {
      this.#onStrayPayload(connectId);
    }
  }

  onPacket(packet: ControlPacket): void {
    if (this.#hasEnded || this.#connection?.isClientClosed === true) return;
    switch (packet.kind) {
      case 'dial_request':
        this.#onDialRequest(packet);
        break;
      case 'close_request':
        this.#onCloseRequest(packet.connectId);
        break;
      case 'dial_close':
        // Also when DIAL_RSP crosses it, because the client has given up a connection that it never
        // saw.
        if (this.#connection?.isDialOf(packet.random) !== true) return;
        this.#connection.abandon();
        this.#end(GrpcStatus.ok);
        break;
      // Clients send none of these.
      case 'dial_response':
      case 'close_response':
      case 'drain':
      case 'other':
        break;
    }
  }

  #onDialRequest(request: DialRequest): void {
    if (this.#connection !== undefined) {
      this.#answerStray(
        PacketType.dialResponse,
        encodeDialError(
          request.random,
          'this stream has a connection already: open another stream',
        ),
      );
      return;
    }
    let destination: Destination;
    try {
      destination = this.#context.resolve(request.network, request.address);
    } catch (error) {
      if (!(error instanceof KonnectivityError)) throw error;
      this.#context.dialFailed(
        error.code === 'unknown_destination' ? 'no_agent' : 'error_response',
      );
      this.#send(PacketType.dialResponse, encodeDialError(request.random, error.message));
      this.#end(GrpcStatus.ok);
      return;
    }
    const { peer } = this.#front;
    this.#context.log.debug('dial', {
      peer,
      address: request.address,
      cluster: destination.cluster,
    });
    this.#connection = new PacketConnection(
      this.#context,
      this.#front,
      request.random,
      destination,
    );
  }

  #onCloseRequest(connectId: number): void {
    const connection = this.#connection;
    if (connection?.isOpenAs(connectId) === true) {
      connection.closeByClient();
    } else {
      const text = connection !== undefined ? 'Unknown connectID' : 'backend uninitialized';
      this.#answerStray(PacketType.closeResponse, encodeCloseResponse(connectId, text));
    }
  }

  #onStrayPayload(connectId: number): void {
    if (this.#hasEnded || this.#connection?.isClientClosed === true) return;
    if (this.#connection === undefined) {
      this.#send(
        PacketType.closeResponse,
        encodeCloseResponse(connectId, 'backend not initialized'),
      );
      this.#end(GrpcStatus.ok);
      return;
    }
    // Ids are valid within their call only, so no client reaches another client's connection by
    // guessing.
    if (connectId === this.#strayConnectId) return;
    this.#strayConnectId = connectId;
    this.#answerStray(
      PacketType.closeResponse,
      encodeCloseResponse(connectId, 'unrecognized connectID'),
    );
  }

  #answerStray(type: PacketTypeNumber, packet: Buffer): void {
    const answers = ++this.#strayAnswers;
    const isUnread = answers > maxUnreadAnswers && this.#front.queuedPackets >= maxUnreadAnswers;
    if (answers <= maxStrayAnswers && !isUnread) {
      this.#send(type, packet);
      return;
    }
    this.#connection?.abandon();
    const sentence = isUnread
      ? `the client sends packets for no connection and leaves ${maxUnreadAnswers} answers unread`
      : `more than ${maxStrayAnswers} packets for no connection`;
    this.#end(GrpcStatus.resourceExhausted, sentence);
  }

  #send(type: PacketTypeNumber, packet: Buffer): void {
    this.#context.packets.toClient.add(type);
    this.#front.send(packet);
  }

  #end(status: GrpcStatus, message?: string): void {
    this.#hasEnded = true;
    this.#parser.stop();
    this.#front.end(status, message);
  }
}

function statusOf(error: KonnectivityError): GrpcStatus {
  switch (error.code) {
    case 'packet_too_large':
      return GrpcStatus.resourceExhausted;
    case 'compressed_packet':
      return GrpcStatus.unimplemented;
    default:
      return GrpcStatus.internal;
  }
}
