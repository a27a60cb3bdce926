import { TunnelError } from '../../tunnel/errors.ts';

/** After this many control bytes, the other end must prove that it reads. */
const askAfterBytes = 256 * 1024;

/** Control bytes that may be sent without a proof. An honest end answers within a round trip. */
const maxUnprovenBytes = 4 * 1024 * 1024;

const tokenBytes = 8;

/**
 * Limits the control frames that wait for one end of a link. The runtime does not tell how much
 * waits in a socket, and credit counts DATA only. So the other end gets a PING with a random token
 * from time to time. Its PONG proves that it has read everything before.
 */
export class ReadProof {
  readonly #sendPing: (token: Uint8Array) => void;
  #unprovenBytes = 0;
  #token: Uint8Array | undefined;
  /** The unproven bytes that were sent before the PING. */
  #provenByAnswer = 0;

  constructor(sendPing: (token: Uint8Array) => void) {
    this.#sendPing = sendPing;
  }

  /** @throws TunnelError `overloaded` the other end does not read */
  sent(bytes: number): void {
    this.#unprovenBytes += bytes;
    if (this.#unprovenBytes > maxUnprovenBytes) {
      const sentence = `more than ${maxUnprovenBytes} bytes of control frames were not read`;
      throw new TunnelError('overloaded', sentence);
    }
    if (this.#token !== undefined || this.#unprovenBytes < askAfterBytes) return;
    this.#token = crypto.getRandomValues(new Uint8Array(tokenBytes));
    this.#provenByAnswer = this.#unprovenBytes;
    this.#sendPing(this.#token);
  }

  /** A PONG came. It proves nothing unless it repeats the token. */
  answered(payload: Uint8Array): void {
    const token = this.#token;
    if (token === undefined || payload.length !== tokenBytes) return;
    if (!token.every((byte, at) => byte === payload[at])) return;
    this.#unprovenBytes -= this.#provenByAnswer;
    this.#token = undefined;
  }
}
