import { describe, expect, it } from 'vitest';
import type { CertificateSubject } from '../../src/konnectivity/certificate-subject.ts';
import { ClientShares, type ShareOptions } from '../../src/konnectivity-bridge/client-shares.ts';
import type { Dialer, OpenOptions } from '../../src/dialer/dialer.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import type { StreamHandler, TunnelStream } from '../../src/tunnel/stream-handler.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { ScriptedDialer, type ScriptedStream } from './scripted-dialer.ts';

const chunk = new Uint8Array(64 * 1024);

/** A user of a stream that writes as fast as it may, and takes everything at once. */
class BusyUser implements StreamHandler {
  readonly stream: TunnelStream;
  writtenBytes = 0;
  error: TunnelError | undefined;
  isClosed = false;
  #isWriting = false;

  constructor(dialer: Pick<Dialer, 'open'>, options: OpenOptions) {
    this.stream = dialer.open(options, this);
  }

  startWriting(): void {
    this.#isWriting = true;
    this.onWritable();
  }

  onWritable(): void {
    // Not for ever, where nothing limits it.
    for (let pieces = 0; this.#isWriting && pieces < 10_000; pieces++) {
      this.writtenBytes += chunk.length;
      if (!this.stream.write(chunk)) return;
    }
  }

  onData(bytes: Uint8Array): void {
    this.stream.consumed(bytes.length);
  }

  onFin(): void {}

  onClose(error: TunnelError | undefined): void {
    this.isClosed = true;
    this.error = error;
  }
}

class Bridge {
  readonly clock = new VirtualClock();
  readonly dialer = new ScriptedDialer();
  readonly opened: OpenOptions[] = [];
  readonly #shares: ClientShares;

  constructor(options: ShareOptions) {
    this.#shares = new ClientShares(options, this.clock);
  }

  dial(name: string | undefined, cluster = 'c1', timeoutMs = 10_000): BusyUser {
    const recorded: Pick<Dialer, 'open'> = {
      open: (options, handler) => {
        this.opened.push(options);
        return this.dialer.open(options, handler);
      },
    };
    const dialer = this.#shares.dialerOf(subjectOf(name), recorded);
    const target = { kind: 'tcp', host: 'kube', port: 6443 } as const;
    return new BusyUser(dialer, { cluster, target, timeoutMs });
  }

  /** A dial that the agent has accepted. */
  async opens(name: string | undefined, cluster = 'c1'): Promise<[BusyUser, ScriptedStream]> {
    const user = this.dial(name, cluster);
    const stream = await this.dialer.next();
    stream.handler.onOpened?.();
    return [user, stream];
  }
}

function subjectOf(name: string | undefined): CertificateSubject | undefined {
  if (name === undefined) return undefined;
  const id = { serial: '1', issuer: 'CN=clients', expiresAtMs: Infinity };
  return { commonNames: [name], organizations: [], ...id };
}

describe('The bytes of a client', () => {
  it('The bytes of a client with a limit follow it, in all its connections together', async () => {
    const bridge = new Bridge({ client: { bytesPerSecond: 1_000_000 } });
    const [one] = await bridge.opens('bulk');
    const [two] = await bridge.opens('bulk', 'c2');
    one.startWriting();
    two.startWriting();
    await bridge.clock.advance(10_000);
    const bytes = one.writtenBytes + two.writtenBytes;
    expect(bytes / 10_000_000).toBeCloseTo(1, 0);
    expect(one.writtenBytes / two.writtenBytes).toBeCloseTo(1, 0);
  });

  it('The bytes of a client do not count for another client', async () => {
    const bridge = new Bridge({ client: { bytesPerSecond: 1_000_000 } });
    const [bulk] = await bridge.opens('bulk');
    const [other] = await bridge.opens('other');
    bulk.startWriting();
    await bridge.clock.advance(5_000);
    expect(other.stream.write(chunk)).toBe(true);
  });

  it('The bytes from targets count: their window returns at the rate of the limit', async () => {
    const bridge = new Bridge({ client: { bytesPerSecond: 1_000_000 } });
    const [, stream] = await bridge.opens('bulk');
    const windowBytes = 256 * 1024;
    let arrivedBytes = 0;
    for (let ms = 0; ms < 10_000; ms++) {
      for (let pieces = 0; pieces < 10; pieces++) {
        if (arrivedBytes - stream.consumedBytes >= windowBytes) break;
        arrivedBytes += chunk.length;
        stream.arrive(chunk);
      }
      await bridge.clock.advance(1);
    }
    // The burst and the window come on top of ten seconds.
    expect(arrivedBytes).toBeGreaterThan(9_500_000);
    expect(arrivedBytes).toBeLessThan(11_000_000);
  });

  it('The bytes of all clients to a cluster follow its limit, and those to another cluster do not count', async () => {
    const bridge = new Bridge({ cluster: { bytesPerSecond: 1_000_000 } });
    const [one] = await bridge.opens('a', 'c1');
    const [two] = await bridge.opens('b', 'c1');
    const [elsewhere] = await bridge.opens('a', 'c2');
    one.startWriting();
    two.startWriting();
    await bridge.clock.advance(10_000);
    expect((one.writtenBytes + two.writtenBytes) / 10_000_000).toBeCloseTo(1, 0);
    expect(elsewhere.stream.write(chunk)).toBe(true);
  });

  it('Dials to made-up clusters give no further share of a cluster with an open connection', async () => {
    const bridge = new Bridge({ cluster: { bytesPerSecond: 1_000_000 } });
    const [one] = await bridge.opens('bulk');
    for (let count = 0; count < 10_001; count++) {
      const { stream } = bridge.dial('bulk', `made-up-${count}`);
      stream.reset(new TunnelError('cancelled', 'the client left'));
      await bridge.dialer.next();
    }
    const [two] = await bridge.opens('bulk');
    one.startWriting();
    two.startWriting();
    await bridge.clock.advance(10_000);
    expect((one.writtenBytes + two.writtenBytes) / 10_000_000).toBeCloseTo(1, 0);
  });

  it('A writer that waits for the stream and for its limit continues after both', async () => {
    const bridge = new Bridge({ client: { bytesPerSecond: 1_000_000 } });
    const [user, stream] = await bridge.opens('bulk');
    for (let pieces = 0; pieces < 4; pieces++) user.stream.write(chunk);
    stream.hasRoom = false;
    user.startWriting();
    expect(user.writtenBytes).toBe(chunk.length);
    await bridge.clock.advance(1_000);
    expect(user.writtenBytes).toBe(chunk.length);
    stream.hasRoom = true;
    stream.handler.onWritable();
    const atOnce = user.writtenBytes;
    expect(atOnce).toBeGreaterThan(chunk.length);
    // Now the limit holds the writer, and the stream's word alone does not release it.
    stream.handler.onWritable();
    expect(user.writtenBytes).toBe(atOnce);
    await bridge.clock.advance(200);
    expect(user.writtenBytes).toBeGreaterThan(atOnce);
  });

  it('A stream that ends leaves no timer behind', async () => {
    const bridge = new Bridge({ client: { bytesPerSecond: 1_000 } });
    const [user, stream] = await bridge.opens('bulk');
    for (let pieces = 0; pieces < 8; pieces++) stream.arrive(chunk);
    user.startWriting();
    expect(bridge.clock.pendingTimers).toBe(2);
    stream.handler.onClose(undefined);
    expect(bridge.clock.pendingTimers).toBe(0);
    expect(user.isClosed).toBe(true);
  });
});

describe('The dials of a client', () => {
  it('The dials of a client beyond its burst wait for their turn', async () => {
    const bridge = new Bridge({ client: { dialsPerSecond: 10 } });
    for (let dials = 0; dials < 30; dials++) bridge.dial('bulk');
    bridge.dial('other');
    expect(bridge.opened.length).toBe(11);
    await bridge.clock.advance(1_000);
    expect(bridge.opened.length).toBe(21);
    await bridge.clock.advance(1_000);
    expect(bridge.opened.length).toBe(31);
  });

  it('The dials to a cluster wait for its limit', async () => {
    const bridge = new Bridge({ cluster: { dialsPerSecond: 5 } });
    for (let dials = 0; dials < 10; dials++) bridge.dial(`client-${dials}`);
    bridge.dial('other', 'c2');
    expect(bridge.opened.length).toBe(6);
    await bridge.clock.advance(1_000);
    expect(bridge.opened.length).toBe(11);
  });

  it('A dial that would wait longer than its time is refused with overloaded, and takes nothing', async () => {
    const bridge = new Bridge({ client: { dialsPerSecond: 1 } });
    const users = Array.from({ length: 100 }, () => bridge.dial('bulk', 'c1', 2_000));
    await bridge.clock.advance(0);
    const refused = users.filter(({ error }) => error?.code === 'overloaded');
    expect(refused.length).toBe(98);
    await bridge.clock.advance(3_000);
    expect(bridge.opened.length).toBe(2);
    bridge.dial('bulk');
    expect(bridge.opened.length).toBe(3);
  });

  it('A dial that is cancelled while it waits is never made', async () => {
    const bridge = new Bridge({ client: { dialsPerSecond: 1 } });
    bridge.dial('bulk');
    const waiting = bridge.dial('bulk');
    const error = { code: 'cancelled' } as TunnelError;
    waiting.stream.reset(error);
    waiting.stream.reset(error);
    await bridge.clock.advance(10_000);
    expect(waiting.error).toBe(error);
    expect(bridge.opened.length).toBe(1);
    expect(bridge.clock.pendingTimers).toBe(0);
  });
});

describe('The share of a client', () => {
  it('The share of a client has a number of its own and the weight of the options', () => {
    const bridge = new Bridge({ weights: new Map([['bulk', 3]]) });
    for (const name of ['bulk', 'other', 'bulk', undefined]) bridge.dial(name);
    expect(bridge.opened.map(({ share }) => share)).toEqual([
      { group: 1, weight: 3 },
      { group: 2, weight: 1 },
      { group: 1, weight: 3 },
      undefined,
    ]);
  });

  it('A client without a certificate dials directly where nothing is limited', () => {
    const dialer = new ScriptedDialer();
    const shares = new ClientShares({}, new VirtualClock());
    expect(shares.dialerOf(undefined, dialer)).toBe(dialer);
  });
});
