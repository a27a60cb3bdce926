import { TunnelError } from '../../tunnel/errors.ts';
import { FrameType } from '../../tunnel/frame.ts';
import { defaultLimits } from '../../tunnel/limits.ts';
import type { Link } from '../../tunnel/link.ts';
import { readOffset } from '../../tunnel/offset.ts';

/** An end of a session. */
export type SessionEnd = 'agent' | 'dialer';

export interface GuardLimits {
  /** Bytes of one session that were passed on and not acknowledged. */
  readonly sessionBytes: number;
  /** The same for all sessions of an object. An object has 128 MiB of memory. */
  readonly objectBytes: number;
  /** Directions of a session's streams that are counted at a time. */
  readonly maxFlows: number;
}

const mib = 1024 * 1024;

export const guardLimits: GuardLimits = {
  // A stream whose window has grown to 16 MiB has up to 24 MiB on its way, because a receiver
  // grants half a window at a time.
  sessionBytes: 32 * mib,
  objectBytes: 64 * mib,
  maxFlows: 2 * defaultLimits.maxStreams,
};

/** One direction of a stream. */
interface Flow {
  /** Bytes that were passed on and not acknowledged. */
  waitingBytes: number;
  /** The last acknowledged offset; undefined: unknown after a sleep, until the next CREDIT. */
  received: number | undefined;
  finished: boolean;
}

interface Account {
  readonly dialer: Link;
  /** By the end that the bytes go to, and the stream's number. */
  readonly flows: Readonly<Record<SessionEnd, Map<number, Flow>>>;
  waitingBytes: number;
}

/**
 * The runtime takes every byte and does not tell how many wait in a socket. So this counts the
 * bytes on their way: DATA that was passed on, minus what CREDIT acknowledges. A session beyond its
 * limit loses its dialer's link. Honest peers stay far below the limit, and otherwise resume over
 * another link.
 *
 * The counts are lost when the object sleeps, but then no bytes are on their way.
 */
export class CreditGuard {
  readonly #limits: GuardLimits;
  readonly #accounts = new Map<number, Account>();
  #waitingBytes = 0;

  constructor(limits = guardLimits) {
    this.#limits = limits;
  }

  /** How much more may be on its way, in bytes. */
  get roomBytes(): number {
    return this.#limits.objectBytes - this.#waitingBytes;
  }

  begin(session: number, dialer: Link): void {
    const flows = { agent: new Map<number, Flow>(), dialer: new Map<number, Flow>() };
    this.#accounts.set(session, { dialer, flows, waitingBytes: 0 });
  }

  /** The session's link is gone. Idempotent. */
  end(session: number): void {
    this.#waitingBytes -= this.#accounts.get(session)?.waitingBytes ?? 0;
    this.#accounts.delete(session);
  }

  /** Counts a frame that is about to be passed to this end. */
  passing(to: SessionEnd, type: FrameType, session: number, stream: number, bytes: number): void {
    const account = this.#accounts.get(session);
    if (account === undefined) return;
    switch (type) {
      case FrameType.data: {
        const flow = this.#flow(account, to, stream);
        if (flow !== undefined) this.#count(account, flow, bytes);
        return;
      }
      case FrameType.open:
        for (const end of ['agent', 'dialer'] as const) {
          const flow = this.#flow(account, end, stream);
          if (flow !== undefined) flow.received ??= 0;
        }
        return;
      case FrameType.fin: {
        const flow = account.flows[to].get(stream);
        if (flow === undefined) return;
        flow.finished = true;
        if (flow.waitingBytes === 0) this.#drop(account, to, stream);
        return;
      }
      case FrameType.reset:
      case FrameType.refused:
        this.#drop(account, 'agent', stream);
        this.#drop(account, 'dialer', stream);
        return;
      default:
    }
  }

  /** Counts bytes of a stream that this end has acknowledged. */
  credited(from: SessionEnd, session: number, stream: number, credit: Uint8Array): void {
    const account = this.#accounts.get(session);
    const flow = account?.flows[from].get(stream);
    // The ends of the session handle a malformed CREDIT.
    if (account === undefined || flow === undefined || credit.length !== 16) return;
    const received = readOffset(credit, 0);
    const newBytes = flow.received === undefined ? Infinity : received - flow.received;
    flow.received = received;
    const lessBytes = Math.min(flow.waitingBytes, Math.max(0, newBytes));
    this.#add(account, flow, -lessBytes);
    if (flow.finished && flow.waitingBytes === 0) this.#drop(account, from, stream);
  }

  /** Undefined: the session has too many directions, and was cut off. */
  #flow(account: Account, to: SessionEnd, stream: number): Flow | undefined {
    const flows = account.flows[to];
    const found = flows.get(stream);
    if (found !== undefined) return found;
    const { maxFlows } = this.#limits;
    if (account.flows.agent.size + account.flows.dialer.size >= maxFlows) {
      this.#close(account, `more than ${maxFlows} directions of streams`);
      return undefined;
    }
    const made: Flow = { waitingBytes: 0, received: undefined, finished: false };
    flows.set(stream, made);
    return made;
  }

  #count(account: Account, flow: Flow, bytes: number): void {
    this.#add(account, flow, bytes);
    const { sessionBytes, objectBytes } = this.#limits;
    if (account.waitingBytes > sessionBytes) {
      this.#close(account, `more than ${sessionBytes} bytes of it are on their way`);
    } else if (this.#waitingBytes > objectBytes) {
      const sentence = `more than ${objectBytes} bytes are on their way in this cluster, most of them its`;
      this.#close(this.#largest(account), sentence);
    }
  }

  #add(account: Account, flow: Flow, bytes: number): void {
    flow.waitingBytes += bytes;
    account.waitingBytes += bytes;
    this.#waitingBytes += bytes;
  }

  #drop(account: Account, end: SessionEnd, stream: number): void {
    const flow = account.flows[end].get(stream);
    if (flow === undefined) return;
    this.#add(account, flow, -flow.waitingBytes);
    account.flows[end].delete(stream);
  }

  #largest(account: Account): Account {
    let largest = account;
    for (const other of this.#accounts.values()) {
      if (other.waitingBytes > largest.waitingBytes) largest = other;
    }
    return largest;
  }

  #close(account: Account, what: string): void {
    account.dialer.close(new TunnelError('overloaded', `the session is cut off: ${what}`));
  }
}
