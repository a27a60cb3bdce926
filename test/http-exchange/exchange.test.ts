import { describe, expect, it } from 'vitest';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { LinkedExchanges } from '../../testkit/link/linked-exchanges.ts';

const upgradeHeaders = [
  ['Connection', 'Upgrade'],
  ['Upgrade', 'SPDY/3.1'],
] as const;

describe('An HTTP exchange', () => {
  it('A GET reaches the acceptor with its head and its server', async () => {
    const exchanges = new LinkedExchanges();
    const headers = [['Accept', 'application/json']] as const;
    const [, answered] = await exchanges.opened({ path: '/api/v1/pods?watch=1', headers });
    expect(answered.head).toEqual({ method: 'GET', path: '/api/v1/pods?watch=1', headers });
    expect(answered.target).toMatchObject({
      server: { kind: 'kube-apiserver' },
      credentials: 'caller',
      hasBody: false,
    });
    expect(answered.events).toEqual(['end']);
  });

  it('A Service as the server of an exchange reaches the acceptor', async () => {
    const exchanges = new LinkedExchanges();
    const server = {
      ...({ kind: 'service', scheme: 'http' } as const),
      ...{ namespace: 'shop', name: 'web', port: 'metrics' },
    };
    const [, answered] = await exchanges.opened({}, { server, credentials: 'agent' });
    expect(answered.target).toMatchObject({ server, credentials: 'agent' });
  });

  it('The caller of an exchange gets head, body, trailers and the end in order', async () => {
    const exchanges = new LinkedExchanges();
    const [recorded, { exchange }] = await exchanges.opened();
    exchange.sendInformational({ status: 103, headers: [['Link', '</x>']] });
    exchange.sendHead({ status: 200, headers: [['Content-Type', 'text/plain']] });
    exchange.write(Buffer.from('hello '));
    exchange.write(Buffer.from('world'));
    exchange.end([['Checksum', 'x']]);
    await exchanges.clock.runUntilIdle();
    expect(recorded.informational).toEqual([{ status: 103, headers: [['Link', '</x>']] }]);
    expect(recorded.head).toEqual({ status: 200, headers: [['Content-Type', 'text/plain']] });
    expect(recorded.body).toBe('hello world');
    expect(recorded.trailers).toEqual([['Checksum', 'x']]);
    expect(recorded.events).toEqual(['informational', 'head', 'trailers', 'end', 'close']);
  });

  it("A request's body and trailers that were written before the acceptor agreed are delivered", async () => {
    const exchanges = new LinkedExchanges({}, () => {});
    const recorded = exchanges.open({ method: 'POST' }, { hasBody: true });
    expect(recorded.exchange.write(Buffer.from('one '))).toBe(false);
    recorded.exchange.write(Buffer.from('two'));
    await exchanges.clock.runUntilIdle();
    const [answered] = exchanges.answered;
    expect(answered!.body).toBe('');
    answered!.stream.accept();
    await exchanges.clock.runUntilIdle();
    expect(answered!.body).toBe('one two');
    expect(recorded.events).toEqual(['writable']);
    recorded.exchange.end([['Digest', 'y']]);
    await exchanges.clock.runUntilIdle();
    expect(answered!.trailers).toEqual([['Digest', 'y']]);
    expect(answered!.events).toEqual(['trailers', 'end']);
  });

  it('A request with more trailers than an exchange carries ends the exchange, and throws nothing', async () => {
    const trailers = Array.from({ length: 1_025 }, (): [string, string] => ['a', '']);
    for (const isAccepted of [true, false]) {
      const exchanges = new LinkedExchanges({}, isAccepted ? undefined : () => {});
      const recorded = exchanges.open({ method: 'POST' }, { hasBody: true });
      if (isAccepted) await exchanges.clock.runUntilIdle();
      recorded.exchange.end(trailers);
      await exchanges.clock.runUntilIdle();
      exchanges.answered[0]!.stream.accept();
      await exchanges.clock.runUntilIdle();
      expect(recorded.error).toMatchObject({ code: 'protocol_error' });
    }
  });

  it('A response whose reader takes nothing stops at the window, and continues', async () => {
    const exchanges = new LinkedExchanges();
    const [recorded, { exchange, events }] = await exchanges.opened();
    recorded.isReading = false;
    exchange.sendHead({ status: 200, headers: [] });
    const piece = new Uint8Array(16 * 1024);
    let writtenBytes = piece.length;
    while (exchange.write(piece)) writtenBytes += piece.length;
    await exchanges.clock.runUntilIdle();
    expect(recorded.bodyBytes).toBeLessThanOrEqual(256 * 1024);
    const heldBytes = recorded.bodyBytes;
    await exchanges.clock.advance(60_000);
    expect(recorded.bodyBytes).toBe(heldBytes);
    recorded.isReading = true;
    recorded.exchange.consumed(heldBytes);
    await exchanges.clock.runUntilIdle();
    expect(recorded.bodyBytes).toBe(writtenBytes);
    expect(events).toContain('writable');
  });

  it('A caller that reads everything gives back the window of heads and record headers too', async () => {
    const exchanges = new LinkedExchanges({ limits: { initialWindowBytes: 16 * 1024 } });
    const [recorded, { exchange }] = await exchanges.opened();
    exchange.sendHead({ status: 200, headers: [['A', 'b'.repeat(8000)]] });
    for (let count = 0; count < 20_000; count++) {
      exchange.write(Uint8Array.of(1));
      if (count % 1000 === 0) await exchanges.clock.runUntilIdle();
    }
    exchange.end();
    await exchanges.clock.runUntilIdle();
    expect(recorded.bodyBytes).toBe(20_000);
    expect(recorded.events).toContain('close');
  });

  it('A response that ends before its head, or inside a record, is cut and not complete', async () => {
    for (const bytes of [[], [1, 0], [1, 0, 0, 4, 0, 0, 0, 200, 2, 0, 0, 9, 65]]) {
      const exchanges = new LinkedExchanges();
      const [recorded, { stream }] = await exchanges.opened();
      if (bytes.length > 0) stream.write(Uint8Array.from(bytes));
      stream.fin();
      await exchanges.clock.runUntilIdle();
      expect(recorded.events.filter((event) => event !== 'head')).toEqual([
        'close: protocol_error',
      ]);
    }
  });

  it('A reset of either end reaches the other end with its code', async () => {
    const exchanges = new LinkedExchanges();
    const [first, { exchange }] = await exchanges.opened();
    exchange.sendHead({ status: 200, headers: [] });
    exchange.write(Buffer.from('half'));
    await exchanges.clock.runUntilIdle();
    exchange.reset(new TunnelError('target_reset', 'the server broke off'));
    const [second, answered] = await exchanges.opened();
    second.exchange.reset(new TunnelError('cancelled', 'the client left'));
    await exchanges.clock.runUntilIdle();
    expect(first.events).toEqual(['head', 'close: target_reset']);
    expect(answered.events).toEqual(['end', 'close: cancelled']);
  });

  it('A response that is complete before the request stops the body of the request', async () => {
    const exchanges = new LinkedExchanges();
    const [recorded, answered] = await exchanges.opened({ method: 'POST' }, { hasBody: true });
    answered.isReading = false;
    recorded.exchange.write(new Uint8Array(100_000));
    await exchanges.clock.runUntilIdle();
    answered.exchange.sendHead({ status: 413, headers: [] });
    answered.exchange.end();
    await exchanges.clock.runUntilIdle();
    expect(recorded.events).toContain('stop');
    recorded.exchange.write(new Uint8Array(1_000_000));
    recorded.exchange.end();
    await exchanges.clock.runUntilIdle();
    expect(recorded.events).toEqual(['stop', 'head', 'end', 'close']);
    expect(exchanges.agent.session.streamCount).toBe(0);
  });

  it('After 101 both directions are the bytes of the new protocol, with half-close', async () => {
    const exchanges = new LinkedExchanges();
    const [recorded, { exchange, stream }] = await exchanges.opened({ headers: upgradeHeaders });
    const received: string[] = [];
    exchange.upgrade(
      { status: 101, headers: upgradeHeaders },
      {
        onData: (bytes) => {
          received.push(Buffer.from(bytes).toString());
          stream.consumed(bytes.length);
        },
        onFin: () => received.push('fin'),
        onWritable() {},
        onClose: (error) => received.push(error?.code ?? 'closed'),
      },
    );
    stream.write(Buffer.from('\u0001ready'));
    await exchanges.clock.runUntilIdle();
    expect(recorded.head?.status).toBe(101);
    recorded.exchange.write(Buffer.from('\u0002stdin'));
    recorded.exchange.end();
    await exchanges.clock.runUntilIdle();
    stream.write(Buffer.from(' output'));
    stream.fin();
    await exchanges.clock.runUntilIdle();
    expect(received).toEqual(['\u0002stdin', 'fin', 'closed']);
    expect(recorded.body).toBe('\u0001ready output');
    expect(recorded.events).toEqual(['head', 'end', 'close']);
  });

  it('An upgrade that the server declines is an ordinary exchange', async () => {
    const exchanges = new LinkedExchanges();
    const [recorded, { exchange, events }] = await exchanges.opened({ headers: upgradeHeaders });
    expect(events).toEqual([]);
    exchange.sendHead({ status: 403, headers: [] });
    exchange.end();
    await exchanges.clock.runUntilIdle();
    expect(recorded.events).toEqual(['head', 'end', 'close']);
  });

  it('A request for another protocol must not have a body, and 101 must have been asked for', async () => {
    const exchanges = new LinkedExchanges();
    const [recorded, { exchange }] = await exchanges.opened({ headers: [['Upgrade', 'h2c']] });
    exchange.sendHead({ status: 101, headers: [] });
    await exchanges.clock.runUntilIdle();
    expect(recorded.events).toEqual(['close: protocol_error']);
    expect(recorded.error?.message).toContain('101');
  });

  it('The signal of an exchange cancels it until its head has arrived, and not later', async () => {
    const exchanges = new LinkedExchanges();
    const abort = new AbortController();
    const [first] = await exchanges.opened({}, { signal: abort.signal });
    const [second, { exchange }] = await exchanges.opened({}, { signal: abort.signal });
    exchange.sendHead({ status: 200, headers: [] });
    await exchanges.clock.runUntilIdle();
    abort.abort();
    await exchanges.clock.runUntilIdle();
    const third = exchanges.open({}, { signal: abort.signal });
    expect(third.events).toEqual([]);
    await exchanges.clock.runUntilIdle();
    expect(first.events).toEqual(['close: cancelled']);
    expect(second.events).toEqual(['head']);
    expect(third.events).toEqual(['close: cancelled']);
  });

  it('An exchange continues over another link without a lost or repeated byte', async () => {
    const sent = Array.from({ length: 400 }, (_, at) => `event ${at}\n`);
    const exchanges = new LinkedExchanges({ resumes: true, latencyMs: () => 10 });
    const [recorded, { exchange }] = await exchanges.opened();
    exchange.sendHead({ status: 200, headers: [] });
    for (const [at, text] of sent.entries()) {
      exchange.write(Buffer.from(text));
      if (at % 100 !== 50) continue;
      await exchanges.clock.advance(7);
      exchanges.dialer.link.cut();
      await exchanges.clock.runUntilIdle();
      exchanges.relink();
    }
    exchange.end();
    await exchanges.clock.runUntilIdle();
    expect(recorded.body).toBe(sent.join(''));
    expect(recorded.events).toEqual(['head', 'end', 'close']);
  });

  it('A head that is too long for OPEN ends the exchange before anything is sent', async () => {
    const exchanges = new LinkedExchanges();
    const recorded = exchanges.open({ headers: [['Cookie', 'c'.repeat(50_000)]] });
    await exchanges.clock.runUntilIdle();
    expect(recorded.events).toEqual(['close: dial_failed']);
    expect(exchanges.dialer.link.sent).toEqual([]);
  });

  it('A head with a character that HTTP cannot carry is not sent', () => {
    const exchanges = new LinkedExchanges();
    const open = (): unknown => exchanges.open({ headers: [['A', '\u010aSmuggled: 1']] });
    expect(open).toThrow(TunnelError);
  });

  it('An agent that does not support HTTP refuses the exchange, and the session continues', async () => {
    const exchanges = new LinkedExchanges({}, ({ stream }) =>
      stream.reset(new TunnelError('unsupported_target', 'no')),
    );
    const [recorded] = await exchanges.opened();
    expect(recorded.events).toEqual(['close: unsupported_target']);
    const [another] = await exchanges.opened();
    expect(another.events).toEqual(['close: unsupported_target']);
  });
});
