import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../base/clock.ts';
import { readTcpTable, type TcpState, tcpTableKey } from './tcp-table.ts';

/** Time between two looks, in milliseconds. */
const lookIntervalMs = 10_000;

/** How long bytes may go without an answer before the connection can count as dead, in milliseconds. */
const patienceMs = 30_000;

/** Retransmissions of the same bytes in a row that say that the other end is gone; 30 s without an acknowledgement are at least as many. */
const deadRetransmissions = 4;

/** Unanswered probes of a closed window in a row that say the same. */
const deadProbes = 3;

interface Watched {
  readonly socket: Socket;
  readonly onDead: (silentMs: number) => void;
  readBytes: number;
  writtenBytes: number;
  /** Since when bytes may be on their way that nothing has answered, as far as the looks show. */
  sinceMs: number | undefined;
}

/**
 * Finds connections whose other end is gone while bytes to it are unacknowledged. TCP keepalive does not run then, and the kernel sends
 * again for 15 minutes. Node has neither TCP_USER_TIMEOUT nor TCP_INFO, so this asks the kernel's table of connections (Linux), and only
 * while a connection has been written to and has brought nothing since. A live peer that does not read is kept: its kernel answers the
 * probes of its closed window. Without that table, no dead connection is found.
 */
export class UnacknowledgedWatch {
  readonly #clock: Clock;
  readonly #watched = new Map<Socket, Watched>();
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Watches a connected socket until it closes. `onDead` is called once, where the other end is gone. */
  add(socket: Socket, onDead: (silentMs: number) => void): void {
    this.#watched.set(socket, {
      socket,
      onDead,
      readBytes: 0,
      writtenBytes: 0,
      sinceMs: undefined,
    });
    socket.once('close', () => {
      this.#watched.delete(socket);
      if (this.#watched.size > 0) return;
      this.#timer?.cancel();
      this.#timer = undefined;
    });
    if (this.#timer === undefined) this.#plan();
  }

  #plan(): void {
    const timer = this.#clock.setTimer(lookIntervalMs, () => {
      void this.#look().finally(() => {
        // The last connection may have closed meanwhile, and another one have begun.
        if (this.#timer === timer) this.#plan();
      });
    });
    this.#timer = timer;
  }

  async #look(): Promise<void> {
    const nowMs = this.#clock.now();
    const suspects = new Map<string, Watched>();
    for (const [socket, watched] of this.#watched) {
      observe(watched, socket, nowMs);
      if (watched.sinceMs === undefined || nowMs - watched.sinceMs < patienceMs) continue;
      const key = tcpTableKey(socket);
      if (key !== undefined) suspects.set(key, watched);
    }
    if (suspects.size === 0) return;
    for (const [key, state] of await tcpStates(suspects))
      this.#judge(suspects.get(key)!, state, nowMs);
  }

  #judge(watched: Watched, state: TcpState, nowMs: number): void {
    const { sinceMs, socket, onDead } = watched;
    // It may have closed meanwhile.
    if (sinceMs === undefined || !this.#watched.has(socket)) return;
    if (state.unacknowledgedBytes === 0) watched.sinceMs = undefined;
    if (state.retransmissions < deadRetransmissions && state.unansweredProbes < deadProbes) return;
    this.#watched.delete(socket);
    onDead(nowMs - sinceMs);
  }
}

function observe(watched: Watched, { bytesRead, bytesWritten }: Socket, nowMs: number): void {
  const hasWritten = bytesWritten !== watched.writtenBytes;
  if (bytesRead !== watched.readBytes) watched.sinceMs = undefined;
  if (hasWritten) watched.sinceMs ??= nowMs;
  watched.readBytes = bytesRead;
  watched.writtenBytes = bytesWritten;
}

async function tcpStates(wanted: ReadonlyMap<string, unknown>): Promise<[string, TcpState][]> {
  const tables = await Promise.all(
    ['/proc/self/net/tcp', '/proc/self/net/tcp6'].map((path) =>
      // Not on Linux, or no IPv6.
      readFile(path, 'latin1').catch(() => ''),
    ),
  );
  return tables.flatMap((table) => readTcpTable(table, wanted));
}
