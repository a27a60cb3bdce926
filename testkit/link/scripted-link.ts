import type { TunnelError } from '../../src/tunnel/errors.ts';
import { FrameType } from '../../src/tunnel/frame.ts';
import type { AttachableLink, LinkOwner } from '../../src/tunnel/link.ts';

export interface PlayedFrame {
  readonly type: FrameType;
  readonly session: number;
  readonly stream: number;
  readonly payload: Uint8Array;
}

/** One end of a link, played by hand: what arrives, and how it ended. */
export class PlayedLink<L extends AttachableLink = AttachableLink> implements LinkOwner {
  readonly link: L;
  readonly frames: PlayedFrame[] = [];
  /** Undefined until the link is gone. */
  ended: { readonly error: TunnelError | undefined } | undefined;
  readonly closed = Promise.withResolvers<TunnelError | undefined>();
  #waiters: (() => void)[] = [];

  constructor(link: L) {
    this.link = link;
    link.attach(this);
  }

  onData(session: number, stream: number, bytes: Uint8Array): void {
    this.#arrived({ type: FrameType.data, session, stream, payload: bytes.slice() });
  }

  onFrame(type: FrameType, session: number, stream: number, payload: Uint8Array): void {
    this.#arrived({ type, session, stream, payload: payload.slice() });
  }

  pull(): void {}

  onClose(error: TunnelError | undefined): void {
    this.ended = { error };
    this.closed.resolve(error);
  }

  /** Takes the first frame of this type, once it is there. */
  async next(type: FrameType): Promise<PlayedFrame> {
    for (;;) {
      const at = this.frames.findIndex((frame) => frame.type === type);
      if (at >= 0) return this.frames.splice(at, 1)[0]!;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiters.push(resolve);
      await promise;
    }
  }

  #arrived(frame: PlayedFrame): void {
    this.frames.push(frame);
    for (const resolve of this.#waiters.splice(0)) resolve();
  }
}
