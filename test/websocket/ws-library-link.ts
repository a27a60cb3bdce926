import type { WebSocket } from 'ws';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameDecoder } from '../../src/tunnel/frame-decoder.ts';
import { encodeFrame, type FrameType } from '../../src/tunnel/frame.ts';
import type { AttachableLink, LinkOwner } from '../../src/tunnel/link.ts';
import type { Block } from '../../src/tunnel/slab.ts';
import { closeError, closePayload } from '../../src/websocket/close-code.ts';

const roomBytes = 256 * 1024;

/** A link on the `ws` package, an independent implementation of RFC 6455 to check ours against. */
export class WsLibraryLink implements AttachableLink {
  readonly peer = 'ws';
  readonly #socket: WebSocket;
  #owner: LinkOwner | undefined;
  #decoder: FrameDecoder | undefined;
  #open = true;
  #told = false;
  #why: TunnelError | undefined;
  #early: Uint8Array[] = [];
  #wantsPull = false;
  #pulling = false;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data, isBinary) => {
      if (isBinary) this.#receive(data as Buffer);
    });
    socket.on('error', () => {});
    socket.on('close', (code, reason) => {
      const lost = new TunnelError('link_lost', 'the connection was lost');
      const said =
        code === 1006 ? lost : closeError(code === 1005 ? undefined : code, String(reason));
      this.#finish(this.#open ? said : this.#why);
    });
  }

  attach(owner: LinkOwner): void {
    this.#owner = owner;
    this.#decoder = new FrameDecoder(owner);
    if (this.#told) setImmediate(() => owner.onClose(this.#why));
    for (const message of this.#early) this.#receive(message);
  }

  get room(): number {
    return this.#open ? roomBytes - this.#socket.bufferedAmount : 0;
  }

  send({ slab, start, end }: Block): void {
    this.#send(slab.bytes.slice(start, end));
  }

  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.#send(encodeFrame(type, session, stream, payload));
  }

  wake(now = false): void {
    this.#wantsPull = true;
    if (now) this.#pullIfWanted();
    else setImmediate(() => this.#pullIfWanted());
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(error?: TunnelError): void {
    if (!this.#open) return;
    this.#open = false;
    this.#why = error;
    const payload = closePayload(error);
    const code = (payload[0]! << 8) | payload[1]!;
    this.#socket.close(code, Buffer.from(payload.subarray(2)));
  }

  #send(frame: Uint8Array): void {
    if (!this.#open) return;
    this.#socket.send(frame, () => setImmediate(() => this.#pullIfWanted()));
    if (this.room <= 0) this.#wantsPull = true;
  }

  #receive(message: Uint8Array): void {
    if (this.#decoder === undefined) {
      this.#early.push(message);
      return;
    }
    if (!this.#open) return;
    try {
      this.#decoder.push(message, true);
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    }
  }

  #pullIfWanted(): void {
    if (!this.#wantsPull || this.#pulling || !this.#open || this.room <= 0) return;
    this.#wantsPull = false;
    this.#pulling = true;
    try {
      this.#owner!.pull();
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    } finally {
      this.#pulling = false;
    }
    if (this.room <= 0) this.#wantsPull = true;
  }

  #finish(error: TunnelError | undefined): void {
    if (this.#told) return;
    this.#told = true;
    this.#open = false;
    this.#why = error;
    this.#owner?.onClose(error);
  }
}
