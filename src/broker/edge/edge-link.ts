import { TunnelError } from '../../tunnel/errors.ts';
import { FrameDecoder } from '../../tunnel/frame-decoder.ts';
import { frameHeaderBytes, FrameType, writeFrameHeader } from '../../tunnel/frame.ts';
import type { AttachableLink, LinkOwner } from '../../tunnel/link.ts';
import { encodeMessage } from '../../tunnel/message.ts';
import type { Block } from '../../tunnel/slab.ts';
import { closePayload } from '../../websocket/close-code.ts';
import type { AgentSnapshot } from '../tunnel-name.ts';
import type { DialerSnapshot } from '../dialer-connection.ts';
import type { Admitted } from './admitted.ts';
import type { CreditGuard, SessionEnd } from './credit-guard.ts';
import { ReadProof } from './read-proof.ts';

/** What a link needs of a WebSocket of the runtime. */
export interface EdgeSocket {
  send(message: ArrayBuffer | ArrayBufferView): void;
  close(code?: number, reason?: string): void;
  /** Keeps a value with the socket while the object sleeps. */
  serializeAttachment(value: unknown): void;
}

/** What lies with a socket while the object sleeps: who was let in, and what HELLO made of it. */
export type Attachment = (Admitted | AgentSnapshot | DialerSnapshot) & {
  readonly peer: string;
  readonly acceptedAtMs: number;
};

export interface EdgeLinkOptions {
  readonly end: SessionEnd;
  readonly peer: string;
  /** When the socket was accepted, in milliseconds since 1970. */
  readonly acceptedAtMs: number;
  /** When the runtime answered the last ping, in milliseconds since 1970; 0 if it never did. */
  readonly pingedAtMs: () => number;
  readonly guard: CreditGuard;
}

/** Who is asked to come back does so after this, in milliseconds. */
const retryAfterMs = 1_000;

/**
 * A link over a WebSocket of a Durable Object. The runtime delivers whole messages and takes whole messages; it neither stops reading
 * nor says what waits, so pausing does nothing and room is what `CreditGuard` counts.
 */
export class EdgeLink implements AttachableLink {
  readonly peer: string;
  readonly end: SessionEnd;
  /** When the last message came; pings, which the runtime answers, are not among them. */
  #heardAtMs: number;
  readonly #socket: EdgeSocket;
  readonly #acceptedAtMs: number;
  readonly #pingedAtMs: () => number;
  readonly #guard: CreditGuard;
  readonly #decoder: FrameDecoder;
  readonly #proof = new ReadProof((token) => this.#put(frameOf(FrameType.ping, 0, 0, token)));
  #owner: LinkOwner | undefined;
  #open = true;
  #why: TunnelError | undefined;
  #session: number | undefined;
  #wantsPull = false;

  constructor(socket: EdgeSocket, { end, peer, acceptedAtMs, pingedAtMs, guard }: EdgeLinkOptions) {
    this.#heardAtMs = this.#acceptedAtMs = acceptedAtMs;
    this.#pingedAtMs = pingedAtMs;
    this.#socket = socket;
    this.end = end;
    this.peer = peer;
    this.#guard = guard;
    this.#decoder = new FrameDecoder({
      onData: (session, stream, bytes) => this.#owner!.onData(session, stream, bytes),
      onFrame: (type, session, stream, payload) => {
        if (type === FrameType.credit) guard.credited(end, session, stream, payload);
        if (type === FrameType.pong && session === 0) return this.#proof.answered(payload);
        this.#owner!.onFrame(type, session, stream, payload);
      },
    });
  }

  attach(owner: LinkOwner): void {
    this.#owner = owner;
    if (!this.#open) queueMicrotask(() => owner.onClose(this.#why));
  }

  get room(): number {
    return this.#open ? this.#guard.roomBytes : 0;
  }

  get silentMs(): number {
    return Date.now() - Math.max(this.#heardAtMs, this.#pingedAtMs());
  }

  send(block: Block): void {
    // By reference nothing can be kept: when the runtime has sent a message is not told.
    if (this.#open) this.#put(block.slab.bytes.slice(block.start, block.end));
  }

  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (!this.#open) return;
    this.#guard.passing(this.end, type, session, stream, payload.length);
    // The guard may have cut off this very session.
    if (!this.#open) return;
    const frame = frameOf(type, session, stream, payload);
    this.#put(frame);
    if (type !== FrameType.data) this.#count(frame.length);
  }

  wake(now = false): void {
    this.#wantsPull = true;
    if (now) this.#pullIfWanted();
    else queueMicrotask(() => this.#pullIfWanted());
  }

  pause(): void {
    // The runtime reads on.
  }

  resume(): void {
    // It never stopped.
  }

  close(error?: TunnelError): void {
    if (!this.#open) return;
    // Some clients hear of a close only when the connection ends, which may be ten seconds later: so it is said in a frame first.
    if (error?.code === 'draining' || error?.code === 'overloaded') this.#sayGoAway();
    const payload = closePayload(error);
    const code = new DataView(payload.buffer, payload.byteOffset).getUint16(0);
    this.#shut(error);
    attempt(() => this.#socket.close(code, new TextDecoder().decode(payload.subarray(2))));
    queueMicrotask(() => this.#owner?.onClose(error));
  }

  /** Keeps what is needed to take the link back after a sleep. */
  keep(kept: AgentSnapshot | DialerSnapshot): void {
    const { peer } = this;
    const acceptedAtMs = this.#acceptedAtMs;
    this.#socket.serializeAttachment({ ...kept, peer, acceptedAtMs } satisfies Attachment);
    if (kept.role === 'dialer') this.watch(kept.session);
  }

  /** This socket of a dialer carries this session from now on. */
  watch(session: number): void {
    this.#session = session;
    if (this.#open) this.#guard.begin(session, this);
  }

  /** A message came in. */
  receive(message: Uint8Array): void {
    if (!this.#open) return;
    this.#heardAtMs = Date.now();
    try {
      this.#decoder.push(message, true);
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    }
    this.#pullIfWanted();
  }

  /** The socket is gone. Idempotent, and without effect after `close`. */
  lost(error: TunnelError | undefined): void {
    if (!this.#open) return;
    this.#shut(error);
    this.#owner?.onClose(error);
  }

  /** Control frames have no credit: an end that does not read them loses its link. */
  #count(controlBytes: number): void {
    try {
      this.#proof.sent(controlBytes);
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    }
  }

  #shut(error: TunnelError | undefined): void {
    this.#open = false;
    this.#why = error;
    if (this.#session !== undefined) this.#guard.end(this.#session);
  }

  #sayGoAway(): void {
    const goAway = encodeMessage({ deadlineMs: 0, retryAfterMs, scope: 'broker' });
    this.#put(frameOf(FrameType.goaway, 0, 0, goAway));
  }

  #put(frame: Uint8Array): void {
    // The runtime tells of a socket that broke in an event of its own.
    attempt(() => this.#socket.send(frame));
  }

  #pullIfWanted(): void {
    if (!this.#wantsPull || !this.#open || this.room <= 0) return;
    this.#wantsPull = false;
    try {
      this.#owner?.pull();
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    }
  }
}

/** A DATA frame is passed on as it came: its payload lies behind a header in a message that nobody else uses. */
function frameOf(
  type: FrameType,
  session: number,
  stream: number,
  payload: Uint8Array,
): Uint8Array {
  const { buffer, byteOffset, length } = payload;
  const isWholeMessage =
    byteOffset === frameHeaderBytes && buffer.byteLength === frameHeaderBytes + length;
  if (type === FrameType.data && isWholeMessage) {
    const frame = new Uint8Array(buffer);
    writeFrameHeader(frame, 0, type, session, stream);
    return frame;
  }
  const frame = new Uint8Array(frameHeaderBytes + length);
  writeFrameHeader(frame, 0, type, session, stream);
  frame.set(payload, frameHeaderBytes);
  return frame;
}

/** A socket that is closing throws; there is nothing more to do about it then. */
function attempt(action: () => void): void {
  try {
    action();
  } catch {
    // See above.
  }
}
