import type { Socket } from 'node:net';
import { SocketSender, type SenderOwner } from '../../src/base/net/socket-sender.ts';
import { readInto } from './pipe-sockets.ts';

const headBytes = 4;
/** The length of a frame has 16 bits. */
const maxPieceBytes = 32 * 1024;

/** A connection that shares a link. */
export interface SharedEnd {
  /** Takes borrowed bytes. @returns false: the link waits until `onRoom` is called */
  write(bytes: Uint8Array, start: number, end: number): boolean;
  /** The link has room again after `send` returned false. */
  resume(): void;
  /** The other end has closed the connection. */
  close(): void;
}

/**
 * Many connections over one link, with the least that this needs: each piece has a head of four
 * bytes with the number of its connection and its length. Length 0 closes the connection. There is
 * no flow control, so the link waits for the slowest connection.
 */
export class SharedLink implements SenderOwner {
  readonly canPull = true;
  readonly #link: Socket;
  readonly #accept: (id: number) => void;
  readonly #sender: SocketSender;
  readonly #members = new Map<number, SharedEnd>();
  /** Connections that must take bytes before the link is read again. */
  readonly #full = new Set<SharedEnd>();
  #waiting: SharedEnd[] = [];
  #head = 0;
  #missingHeadBytes = headBytes;
  #pieceBytes = 0;
  #receiver: SharedEnd | undefined;

  /** @param accept adds the connection of a number that the other end has used first */
  constructor(link: Socket, accept: (id: number) => void) {
    this.#link = link;
    this.#accept = accept;
    this.#sender = new SocketSender(link, this);
    readInto(link, (bytes) => this.#onRead(bytes));
  }

  add(id: number, member: SharedEnd): void {
    this.#members.set(id, member);
  }

  /** The connection is closed at this end. Idempotent. */
  remove(id: number, member: SharedEnd): void {
    this.#full.delete(member);
    if (this.#members.delete(id)) this.#writeHead(id, 0);
    this.#sender.planTurn();
  }

  /** The connection has taken bytes. */
  onRoom(member: SharedEnd): void {
    if (this.#full.delete(member) && this.#full.size === 0) this.#link.resume();
  }

  /** Sends borrowed bytes. @returns false: wait for `resume` */
  send(id: number, member: SharedEnd, bytes: Uint8Array): boolean {
    const { output } = this.#sender;
    for (let at = 0; at < bytes.length; at += maxPieceBytes) {
      const end = Math.min(at + maxPieceBytes, bytes.length);
      this.#writeHead(id, end - at);
      output.copy(bytes, at, end);
    }
    this.#sender.written();
    if (this.#sender.room > 0) return true;
    this.#waiting.push(member);
    return false;
  }

  pull(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const member of waiting) member.resume();
  }

  onDrained(): void {}

  #writeHead(id: number, bytes: number): void {
    const { output } = this.#sender;
    const position = output.reserve(headBytes);
    const into = output.slabBytes;
    into[position] = id >> 8;
    into[position + 1] = id;
    into[position + 2] = bytes >> 8;
    into[position + 3] = bytes;
    output.fill(headBytes);
  }

  #onRead(bytes: Uint8Array): boolean {
    let at = 0;
    while (at < bytes.length) {
      if (this.#pieceBytes === 0) {
        this.#head = (this.#head << 8) | bytes[at++]!;
        if (--this.#missingHeadBytes === 0) this.#onHead();
        continue;
      }
      const end = Math.min(at + this.#pieceBytes, bytes.length);
      const receiver = this.#receiver;
      if (receiver?.write(bytes, at, end) === false) this.#full.add(receiver);
      this.#pieceBytes -= end - at;
      at = end;
    }
    return this.#full.size === 0;
  }

  #onHead(): void {
    const [id, bytes] = [this.#head >>> 16, this.#head & 0xffff];
    this.#missingHeadBytes = headBytes;
    this.#head = 0;
    this.#pieceBytes = bytes;
    if (bytes > 0 && !this.#members.has(id)) this.#accept(id);
    this.#receiver = this.#members.get(id);
    if (bytes > 0) return;
    this.#members.delete(id);
    this.#receiver?.close();
  }
}

/** Lets a socket share `link` under the number `id`, until one of them is closed. */
export function shareSocket(socket: Socket, id: number, link: SharedLink): void {
  link.add(id, new SharedSocket(socket, id, link));
}

/** A socket that shares a link. */
class SharedSocket implements SharedEnd, SenderOwner {
  readonly canPull = true;
  readonly #socket: Socket;
  readonly #link: SharedLink;
  readonly #sender: SocketSender;

  constructor(socket: Socket, id: number, link: SharedLink) {
    this.#socket = socket;
    this.#link = link;
    this.#sender = new SocketSender(socket, this);
    socket.on('close', () => {
      this.#sender.destroy();
      link.remove(id, this);
    });
    readInto(socket, (bytes) => link.send(id, this, bytes));
  }

  write(bytes: Uint8Array, start: number, end: number): boolean {
    this.#sender.output.copy(bytes, start, end);
    this.#sender.written();
    return this.#sender.room > 0;
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.destroy();
  }

  pull(): void {
    this.#link.onRoom(this);
  }

  onDrained(): void {}
}
