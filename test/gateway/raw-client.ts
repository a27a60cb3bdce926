import { connect, type Socket } from 'node:net';
import type { HostPort } from '../../src/base/net/host-port.ts';

/** A connection that shows every byte, for requests that no HTTP client sends. */
export class RawClient {
  readonly socket: Socket;
  #text = '';
  #isClosed = false;
  #wake = Promise.withResolvers<void>();

  constructor({ host, port }: HostPort, socket = connect({ host, port, allowHalfOpen: true })) {
    this.socket = socket;
    const changed = (): void => {
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    };
    socket.setEncoding('latin1').on('data', (piece: string) => {
      this.#text += piece;
      changed();
    });
    socket.on('error', () => {});
    socket.on('end', () => {
      this.#isClosed = true;
      changed();
    });
    socket.on('close', () => {
      this.#isClosed = true;
      changed();
    });
  }

  get text(): string {
    return this.#text;
  }

  send(bytes: string): this {
    this.socket.write(bytes, 'latin1');
    return this;
  }

  /** Everything that has come when it contains `part`. */
  async until(part: string): Promise<string> {
    while (!this.#text.includes(part)) {
      if (this.#isClosed) throw new Error(`closed without ${part}: ${this.#text}`);
      await this.#wake.promise;
    }
    return this.#text;
  }

  /** Everything that came until the server ended the connection. */
  async end(): Promise<string> {
    while (!this.#isClosed) await this.#wake.promise;
    return this.#text;
  }
}
