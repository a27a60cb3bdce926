import type { Socket } from 'node:net';
import { SocketSender, type SenderOwner } from '../../src/base/net/socket-sender.ts';
import { readInto } from './pipe-sockets.ts';

const headBytes = 4;
/** The length of a frame has 16 bits. */
const maxPieceBytes = 32 * 1024;

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
  readonly #members = new Map<number, Member>();
  /** Connections that must take bytes before the link is read again. */
  readonly #full = new Set<Member>();
  #waiting: Member[] = [];
  #head = 0;
  #missingHeadBytes = headBytes;
  #pieceBytes = 0;
  #receiver: Member | undefined;

  /** @param accept adds the connection of a number that the other end has used first */
  constructor(link: Socket, accept: (id: number) => void) {
    this.#link = link;
    this.#accept = accept;
    this.#sender = new SocketSender(link, this);
    readInto(link, (bytes) => this.#onRead(bytes));
  }

  add(id: number, socket: Socket): void {
    const member = new Member(id, socket, this);
    this.#members.set(id, member);
    socket.on('close', () => {
      this.#full.delete(member);
      if (this.#members.delete(id)) this.#writeHead(id, 0);
      this.#sender.planTurn();
    });
    readInto(socket, (bytes) => this.#send(member, bytes));
  }

  /** The connection has taken bytes. */
  onRoom(member: Member): void {
    if (this.#full.delete(member) && this.#full.size === 0) this.#link.resume();
  }

  pull(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { socket } of waiting) socket.resume();
  }

  onDrained(): void {}

  #send(member: Member, bytes: Uint8Array): boolean {
    const { output } = this.#sender;
    for (let at = 0; at < bytes.length; at += maxPieceBytes) {
      const end = Math.min(at + maxPieceBytes, bytes.length);
      this.#writeHead(member.id, end - at);
      output.copy(bytes, at, end);
    }
    this.#sender.written();
    if (this.#sender.room > 0) return true;
    this.#waiting.push(member);
    return false;
  }

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
    this.#receiver?.socket.destroy();
  }
}

class Member implements SenderOwner {
  readonly canPull = true;
  readonly id: number;
  readonly socket: Socket;
  readonly #link: SharedLink;
  readonly #sender: SocketSender;

  constructor(id: number, socket: Socket, link: SharedLink) {
    this.id = id;
    this.socket = socket;
    this.#link = link;
    this.#sender = new SocketSender(socket, this);
    socket.on('close', () => this.#sender.destroy());
  }

  /** @returns false: the socket must take bytes first */
  write(bytes: Uint8Array, start: number, end: number): boolean {
    this.#sender.output.copy(bytes, start, end);
    this.#sender.written();
    return this.#sender.room > 0;
  }

  pull(): void {
    this.#link.onRoom(this);
  }

  onDrained(): void {}
}
