import type { Socket } from 'node:net';
import { describe, expect, it, vi } from 'vitest';
import { OutputSlab } from '../../../src/base/net/output-slab.ts';
import { SocketOutput } from '../../../src/base/net/socket-output.ts';

/** A socket that takes what is written only when it is told to, as TLS does. */
class SlowSocket {
  taken = '';
  writableLength = 0;
  #writes: { bytes: Uint8Array; done: () => void }[] = [];

  write(bytes: Uint8Array, done: () => void): void {
    this.#writes.push({ bytes, done });
    this.writableLength += bytes.length;
  }

  take(): void {
    const writes = this.#writes;
    this.#writes = [];
    for (const { bytes } of writes) this.taken += Buffer.from(bytes).toString('latin1');
    this.writableLength = 0;
    for (const { done } of writes) done();
  }

  cork(): void {}
  uncork(): void {}
}

class Sender {
  readonly socket = new SlowSocket();
  readonly output = new SocketOutput(this.socket as unknown as Socket, { onTaken: () => {} });
  written = '';

  send(text: string): void {
    const bytes = Buffer.from(text, 'latin1');
    this.output.copy(bytes, 0, bytes.length);
    this.written += text;
  }

  endTurn(): void {
    this.output.flush();
    this.output.rest();
  }
}

describe('The output of a socket', () => {
  it('shares its memory with other outputs when batches are small and sockets take them late', () => {
    const senders = Array.from({ length: 100 }, () => new Sender());
    using take = vi.spyOn(OutputSlab, 'take');
    for (const sender of senders) {
      sender.send('x'.repeat(8 * 1024));
      sender.endTurn();
    }
    const slabs = new Set(take.mock.results.map(({ value }) => value as OutputSlab));
    // 800 KiB, in slabs of 128 KiB of which at least 64 KiB are used.
    expect(slabs.size).toBeLessThanOrEqual(13);
    for (const { socket } of senders) socket.take();
  });

  it('never changes bytes that a socket has not taken, whatever other outputs do', () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    const senders = Array.from({ length: 12 }, () => new Sender());
    for (let step = 0; step < 4000; step++) {
      const index = random(senders.length);
      const sender = senders[index]!;
      const letter = String.fromCodePoint(97 + random(26));
      switch (random(4)) {
        case 0:
        case 1:
          sender.send(letter.repeat(1 + random(random(20) === 0 ? 300_000 : 9000)));
          break;
        case 2:
          sender.endTurn();
          break;
        default:
          sender.socket.take();
      }
      if (random(200) === 0) {
        sender.output.destroy();
        senders[index] = new Sender();
      }
    }
    for (const sender of senders) {
      while (sender.output.queuedBytes > 0) {
        sender.endTurn();
        sender.socket.take();
      }
      expect(sender.socket.taken === sender.written).toBe(true);
    }
  });
});
