import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type SenderOwner, SocketSender } from '../base/net/socket-sender.ts';
import type { FrameType } from '../tunnel/frame.ts';
import type { Opcode } from './message-header.ts';
import type { WebSocketRole } from './message-parser.ts';
import { MessageWriter } from './message-writer.ts';

/** The sending half of a link: writes messages, and asks the link's owner for frames. */
export class LinkSender {
  readonly #sender: SocketSender;
  readonly #writer: MessageWriter;

  constructor(socket: Socket, role: WebSocketRole, owner: SenderOwner) {
    this.#sender = new SocketSender(socket, owner);
    this.#writer = new MessageWriter(this.#sender.output, role, socket instanceof TLSSocket);
  }

  get frames(): number {
    return this.#writer.frames;
  }

  get bytes(): number {
    return this.#writer.bytes;
  }

  get room(): number {
    return this.#sender.room;
  }

  /** Bytes wait that have not left the process. */
  get hasQueued(): boolean {
    return this.#sender.hasQueued;
  }

  /** Copies a frame, which has its header already. */
  frame(bytes: Uint8Array, start: number, end: number): void {
    this.#writer.frame(bytes, start, end);
    this.#sender.written();
  }

  /** Copies a frame whose header is not written yet. */
  frameOf(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.#writer.frameOf(type, session, stream, payload);
    this.#sender.written();
  }

  /** Copies a message that is no frame. */
  control(opcode: Opcode, payload: Uint8Array): void {
    this.#writer.control(opcode, payload);
    this.#sender.planTurn();
  }

  /** Frames wait for the link; see `Link.wake`. */
  wake(now: boolean): void {
    this.#sender.wake(now);
  }

  /** Gives the socket everything that was written. */
  flush(): void {
    this.#sender.flush();
  }

  /** The socket is closed: frees all memory. */
  destroy(): void {
    this.#sender.destroy();
  }
}
