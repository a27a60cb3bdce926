import { createReadStream } from 'node:fs';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Clock } from '../clock.ts';
import { parseIpAddress } from './ip-address.ts';

export interface RetransmissionWatchOptions {
  readonly clock: Clock;
  /** The kernel's tables of TCP connections (default: those of this process's network; there are none but on Linux). */
  readonly tables?: readonly string[];
}

/** How often the tables are read while there are connections, in milliseconds. */
const lookEveryMs = 30_000;
/** The kernel waits 0.2 s before the first repetition, and twice as long before each further one: the ninth comes after 100 s. */
const maxRetransmissions = 9;

/** `local remote`, the state, the queues, the timer that runs (01: retransmission), how often it has fired. */
const row =
  /^ *\d+: ([\dA-F]+:[\dA-F]{4} [\dA-F]+:[\dA-F]{4}) [\dA-F]{2} [\dA-F]+:[\dA-F]+ 01:[\dA-F]+ ([\dA-F]{8}) /;

/**
 * Ends connections whose peer is gone while bytes for it are on the way. Keepalive does not find these: the kernel probes only when nothing is on the
 * way, and goes on repeating those bytes for a quarter of an hour. Node cannot set TCP_USER_TIMEOUT; so the kernel's tables say how often it has
 * repeated them (proc_net_tcp, Linux). A peer that reads nothing acknowledges all the same, and is left alone.
 */
export class RetransmissionWatch {
  readonly #options: RetransmissionWatchOptions;
  readonly #sockets = new Map<string, Socket>();
  #isPlanned = false;

  constructor(options: RetransmissionWatchOptions) {
    this.#options = options;
  }

  /** Watches a connection until it closes. It fails with ETIMEDOUT when its peer acknowledges nothing. */
  add(socket: Socket): void {
    const key = tableKey(socket);
    if (key === undefined) return;
    this.#sockets.set(key, socket);
    socket.once('close', () => {
      if (this.#sockets.get(key) === socket) this.#sockets.delete(key);
    });
    this.#plan();
  }

  #plan(): void {
    if (this.#isPlanned || this.#sockets.size === 0) return;
    this.#isPlanned = true;
    this.#options.clock.setTimer(lookEveryMs, () => void this.#look());
  }

  async #look(): Promise<void> {
    const { tables = ['/proc/self/net/tcp', '/proc/self/net/tcp6'] } = this.#options;
    for (const table of tables) await this.#lookInto(table);
    this.#isPlanned = false;
    this.#plan();
  }

  async #lookInto(table: string): Promise<void> {
    try {
      for await (const line of createInterface({ input: createReadStream(table) })) {
        const [, key = '', count = '0'] = row.exec(line) ?? [];
        if (Number.parseInt(count, 16) < maxRetransmissions) continue;
        const message = 'connection timed out: the other end acknowledges nothing';
        this.#sockets.get(key)?.destroy(Object.assign(new Error(message), { code: 'ETIMEDOUT' }));
      }
    } catch {
      // There is no such table here: the kernel's own timeout has to do.
    }
  }
}

/** How the kernel writes both ends of a connection; undefined: it is none. */
export function tableKey(socket: Socket): string | undefined {
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  if (localAddress === undefined || remoteAddress === undefined) return undefined;
  return `${endOf(localAddress, localPort)} ${endOf(remoteAddress, remotePort)}`;
}

function endOf(text: string, port = 0): string {
  const { family, value } = parseIpAddress(text)!;
  const shifts = family === 4 ? [0n] : [96n, 64n, 32n, 0n];
  const words = shifts.map((shift) => hex(swapped(Number((value >> shift) & 0xffff_ffffn)), 8));
  return `${words.join('')}:${hex(port, 4)}`;
}

/** The kernel writes each word in the order of the machine's bytes, and the machines that we run on are little-endian. */
function swapped(word: number): number {
  const bytes = new DataView(new ArrayBuffer(4));
  bytes.setUint32(0, word);
  return bytes.getUint32(0, true);
}

function hex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0');
}
