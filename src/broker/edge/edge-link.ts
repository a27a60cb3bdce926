import { TunnelError } from '../../tunnel/errors.ts';
import { FrameDecoder } from '../../tunnel/frame-decoder.ts';
import { frameHeaderBytes, FrameType, writeFrameHeader } from '../../tunnel/frame.ts';
import type { AttachableLink, LinkOwner } from '../../tunnel/link.ts';
import { encodeMessage } from '../../tunnel/message.ts';
import type { Block } from '../../tunnel/slab.ts';
import { closePayload } from '../../websocket/close-code.ts';
import type { DialerToken } from '../../base/tokens/token-subject.ts';
import type { AdmittedClient } from '../admitted-client.ts';
import type { AgentSnapshot, DialerSnapshot } from '../snapshots.ts';
import type { CreditGuard, SessionEnd } from './credit-guard.ts';
import { ReadProof } from './read-proof.ts';

/** What a link needs of a WebSocket of the runtime. */
export interface EdgeSocket {
  send(message: ArrayBuffer | ArrayBufferView): void;
  close(code?: number, reason?: string): void;
  /** Keeps a value with the socket while the object sleeps. */
  serializeAttachment(value: unknown): void;
}

/**
 * What the runtime keeps with a socket while the object sleeps: the admitted client, and after
 * HELLO its snapshot.
 */
export type Attachment = (AdmittedClient | AgentSnapshot | DialerSnapshot) & {
  /** The token of a dialer. */
  readonly credential?: DialerToken | undefined;
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
  /** The token of a dialer. */
  readonly credential?: DialerToken | undefined;
}

/** When a client that was told to reconnect should do so, in milliseconds. */
const retryAfterMs = 1_000;

/**
 * A link over a WebSocket of a Durable Object. The runtime delivers and takes whole messages. It
 * cannot stop reading, so pausing does nothing. It does not tell how much waits in a socket, so
 * `CreditGuard` counts it.
 */
export class EdgeLink implements AttachableLink {
  readonly peer: string;
  readonly end: SessionEnd;
  /** When the last message came. The runtime answers pings, so they do not count here. */
  #heardAtMs: number;
  readonly #socket: EdgeSocket;
  readonly #acceptedAtMs: number;
  readonly #pingedAtMs: () => number;
  readonly #guard: CreditGuard;
  readonly #credential: DialerToken | undefined;
  readonly #decoder: FrameDecoder;
  readonly #proof = new ReadProof((token) => this.#put(frameOf(FrameType.ping, 0, 0, token)));
  #owner: LinkOwner | undefined;
  #open = true;
  #closeReason: TunnelError | undefined;
  #session: number | undefined;
  #wantsPull = false;

  constructor(socket: EdgeSocket, options: EdgeLinkOptions) {
    const { end, peer, acceptedAtMs, pingedAtMs, guard } = options;
    this.#credential = options.credential;
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
        if (type === FrameType.pong && session === 0) {
          this.#proof.answered(payload);
          // The relay sends PING to agents too. From a dialer, it takes PONG for an error.
          if (end === 'dialer') return;
        }
        this.#owner!.onFrame(type, session, stream, payload);
      },
    });
  }

  attach(owner: LinkOwner): void {
    this.#owner = owner;
    if (!this.#open) queueMicrotask(() => owner.onClose(this.#closeReason));
  }

  get room(): number {
    return this.#open ? this.#guard.roomBytes : 0;
  }

  get silentMs(): number {
    return Date.now() - Math.max(this.#heardAtMs, this.#pingedAtMs());
  }

  send(block: Block): void {
    // The runtime does not tell when a message has been sent, so the block cannot be kept by
    // reference.
    if (this.#open) this.#put(block.slab.bytes.slice(block.start, block.end));
  }

  sendCopy(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    if (!this.#open) return;
    this.#guard.passing(this.end, type, session, stream, payload.length);
    // The guard may have closed this link.
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
    // The runtime cannot stop reading.
  }

  resume(): void {
    // Reading never stopped.
  }

  close(error?: TunnelError): void {
    if (!this.#open) return;
    // Some clients learn of a close only when the connection ends, perhaps ten seconds later. A
    // frame reaches them at once.
    if (error?.code === 'draining' || error?.code === 'overloaded') this.#sendGoAway();
    const payload = closePayload(error);
    const code = new DataView(payload.buffer, payload.byteOffset).getUint16(0);
    this.#shut(error);
    attempt(() => this.#socket.close(code, new TextDecoder().decode(payload.subarray(2))));
    queueMicrotask(() => this.#owner?.onClose(error));
  }

  /** Keeps what is needed to take the link back after a sleep. */
  keep(snapshot: AgentSnapshot | DialerSnapshot): void {
    const { peer } = this;
    const acceptedAtMs = this.#acceptedAtMs;
    const credential = this.#credential;
    const attachment: Attachment = { ...snapshot, credential, peer, acceptedAtMs };
    this.#socket.serializeAttachment(attachment);
    if (snapshot.kind === 'dialer') this.watch(snapshot.session);
  }

  /** From now on, this dialer's socket carries this session. */
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

  /** Control frames have no credit, so an end that does not read them loses its link. */
  #count(controlBytes: number): void {
    try {
      this.#proof.sent(controlBytes);
    } catch (thrown) {
      this.close(TunnelError.from(thrown));
    }
  }

  #shut(error: TunnelError | undefined): void {
    this.#open = false;
    this.#closeReason = error;
    if (this.#session !== undefined) this.#guard.end(this.#session);
  }

  #sendGoAway(): void {
    const goAway = encodeMessage({ deadlineMs: 0, retryAfterMs, scope: 'broker' });
    this.#put(frameOf(FrameType.goaway, 0, 0, goAway));
  }

  #put(frame: Uint8Array): void {
    // The runtime reports a broken socket in an event of its own.
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

/**
 * A DATA frame is passed on in the buffer in which it came, because nothing else uses that message.
 */
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

/** Ignores the error of a socket that is closing, because there is nothing more to do for it. */
function attempt(action: () => void): void {
  try {
    action();
  } catch {
    // See above.
  }
}
