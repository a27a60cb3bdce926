import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { describeBroker } from '../contracts/broker.contract.ts';
import { DialedStream } from '../../testkit/stream/dialed-stream.ts';
import { patternAt, patternSha256 } from '../../testkit/stream/pattern.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { EdgeBroker } from './edge-broker.ts';

const mib = 1024 * 1024;
const piece = 64 * 1024;

describeBroker('the Worker', () => EdgeBroker.start());

describe('Streams through the Worker', () => {
  let broker: EdgeBroker;
  let dialer: PooledDialer;

  beforeAll(async () => {
    broker = await EdgeBroker.start();
    dialer = await broker.dialer();
  }, 30_000);
  afterAll(() => broker?.[Symbol.asyncDispose]());

  const open = (cluster: string, { port }: TestTarget) =>
    DialedStream.open(dialer, cluster, { kind: 'tcp', host: cluster, port });

  it('A stream through the Worker carries 8 MiB up, unchanged', async () => {
    await broker.agent('up');
    await using target = await startTarget({ mode: 'sink' });
    const stream = open('up', target);
    await stream.opened;
    for (let at = 0; at < 8 * mib; at += piece) await stream.write(patternAt(at, piece));
    stream.fin();
    const [report] = await target.waitForReports(1);
    expect(report).toEqual({
      receivedBytes: 8 * mib,
      sha256: patternSha256(8 * mib),
      end: 'fin',
    });
    expect(await stream.closed).toBeUndefined();
  });

  it('A stream through the Worker carries 8 MiB down, unchanged', async () => {
    await broker.agent('down');
    await using target = await startTarget({ mode: 'source', bytes: 8 * mib });
    const stream = open('down', target);
    const hash = createHash('sha256').update(await stream.readAll());
    stream.fin();
    expect(hash.digest('hex')).toBe(patternSha256(8 * mib));
    expect(await stream.closed).toBeUndefined();
  });

  it('A stream survives the loss of every socket, as at a deployment', async () => {
    await broker.agent('deployed');
    await using target = await startTarget({ mode: 'echo' });
    const streams = Array.from({ length: 5 }, () => open('deployed', target));
    for (const [i, stream] of streams.entries()) {
      await stream.opened;
      await stream.write(patternAt(i, 1000));
      await stream.received(1000);
    }
    await broker.worker.dropSockets('deployed');
    const echoed = streams.map(async (stream, i) => {
      await stream.write(patternAt(i + 1000, 1000));
      stream.fin();
      return Buffer.compare(await stream.readAll(), patternAt(i, 2000));
    });
    expect(await Promise.all(echoed)).toEqual([0, 0, 0, 0, 0]);
    expect(dialer.resumedCount).toBeGreaterThan(0);
    expect(target.acceptedCount).toBe(5);
  });

  it('The Worker admits an agent again whose tunnel was replaced', async () => {
    const agentId = 'the-same';
    const first = await broker.agent('again', { agentId });
    await first.close();
    await broker.agent('again', { agentId });
    await using target = await startTarget({ mode: 'echo' });
    const stream = open('again', target);
    await stream.opened;
    stream.fin();
    expect(await stream.closed).toBeUndefined();
  });
});
