import { describe, expect, it } from 'vitest';
import { maxBacklogBytesOfAll, TargetWriter } from '../../src/konnectivity-bridge/target-writer.ts';
import { WindowBudget } from '../../src/tunnel/window-budget.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import { ScriptedDialer } from './scripted-dialer.ts';

async function blocked(budget = new WindowBudget(maxBacklogBytesOfAll)) {
  const dialer = new ScriptedDialer();
  const clock = new VirtualClock();
  dialer.open({ cluster: 'cluster1', target: { kind: 'tcp', host: 'x', port: 1 } }, {} as never);
  const stream = await dialer.next();
  let readOnCount = 0;
  const writer = new TargetWriter(stream, { clock, budget, resumeClient: () => readOnCount++ });
  stream.hasRoom = false;
  expect(writer.write(Buffer.from('first '))).toBe(false);
  return { stream, clock, writer, readOnCount: () => readOnCount };
}

/** A piece that is not gathered with another one. */
function large(letter: string): string {
  return letter.repeat(40_000);
}

describe('TargetWriter', () => {
  it('The target writer stops the client while the tunnel has no room, passes on bytes that were read already, and lets it continue', async () => {
    const { stream, writer, readOnCount } = await blocked();
    expect(writer.write(Buffer.from('second '))).toBe(false);
    expect(stream.text).toBe('first second ');
    expect(readOnCount()).toBe(0);
    stream.hasRoom = true;
    writer.onWritable();
    expect(readOnCount()).toBe(1);
    expect(writer.write(Buffer.from('third'))).toBe(true);
    expect(stream.text).toBe('first second third');
  });

  it('The target writer reads a client again after 100 ms without room, until 1 MiB is queued', async () => {
    const { clock, writer, readOnCount } = await blocked();
    clock.advanceSync(99);
    expect(readOnCount()).toBe(0);
    clock.advanceSync(1);
    expect(readOnCount()).toBe(1);
    for (let i = 1; i < 16; i++) expect(writer.write(Buffer.alloc(65_536))).toBe(true);
    expect(writer.write(Buffer.alloc(65_536))).toBe(false);
  });

  it('The target writer keeps what comes meanwhile in order', async () => {
    const { stream, clock, writer } = await blocked();
    clock.advanceSync(100);
    for (const letter of ['a', 'b', 'c']) writer.write(Buffer.from(large(letter)));
    expect(stream.text).toBe('first ');
    writer.onWritable();
    expect(stream.text).toBe(`first ${large('a')}`);
    stream.hasRoom = true;
    writer.onWritable();
    writer.write(Buffer.from('d'));
    expect(stream.text).toBe(`first ${large('a')}${large('b')}${large('c')}d`);
  });

  it('The target writer gathers small pieces, because a client may send a byte at a time', async () => {
    const { stream, clock, writer } = await blocked();
    clock.advanceSync(100);
    for (let count = 0; count < 100_000; count++) writer.write(Buffer.from('x'));
    stream.written.length = 0;
    stream.hasRoom = true;
    writer.onWritable();
    expect(stream.written.map(({ length }) => length)).toEqual([65_536, 100_000 - 65_536]);
  });

  it('The target writer stops a client again as soon as its target reads, until the backlog is gone', async () => {
    const { stream, clock, writer, readOnCount } = await blocked();
    clock.advanceSync(100);
    expect(readOnCount()).toBe(1);
    expect(writer.write(Buffer.from(large('a')))).toBe(true);
    expect(writer.write(Buffer.from(large('b')))).toBe(true);
    // Room for one piece only.
    writer.onWritable();
    expect(stream.text).toBe(`first ${large('a')}`);
    expect(writer.write(Buffer.from('c'))).toBe(false);
    expect(readOnCount()).toBe(1);
    stream.hasRoom = true;
    writer.onWritable();
    expect(stream.text).toBe(`first ${large('a')}${large('b')}c`);
    expect(readOnCount()).toBe(2);
  });

  it('The target writer waits for a target that takes a little now and then', async () => {
    const { stream, clock, writer, readOnCount } = await blocked();
    clock.advanceSync(60);
    stream.hasRoom = true;
    writer.onWritable();
    expect(readOnCount()).toBe(1);
    stream.hasRoom = false;
    writer.write(Buffer.from('again'));
    clock.advanceSync(60);
    expect(readOnCount()).toBe(1);
    clock.advanceSync(100);
    expect(readOnCount()).toBe(2);
  });

  it('The target writer finishes only when its backlog has been passed on', async () => {
    const { stream, clock, writer } = await blocked();
    clock.advanceSync(100);
    writer.write(Buffer.from('second'));
    writer.fin();
    expect(stream.isFinished).toBe(false);
    // Still no room: one piece at a time.
    writer.onWritable();
    expect(stream.text).toBe('first second');
    expect(stream.isFinished).toBe(true);
    expect(clock.pendingTimers).toBe(0);
  });

  it('The target writer takes at most an eighth of what the budget of all backlogs has left, and waits where nothing is left', async () => {
    const budget = new WindowBudget(64 * 1024);
    const first = await blocked(budget);
    first.clock.advanceSync(100);
    expect(first.writer.write(Buffer.alloc(4 * 1024))).toBe(true);
    expect(first.writer.write(Buffer.alloc(4 * 1024))).toBe(false);
    budget.take(56 * 1024);
    const second = await blocked(budget);
    second.clock.advanceSync(1_000);
    expect(second.readOnCount()).toBe(0);
    first.writer.discard();
    second.clock.advanceSync(100);
    expect(second.readOnCount()).toBe(1);
    second.writer.discard();
    budget.giveBack(56 * 1024);
    expect(budget.grantedBytes).toBe(0);
    expect(second.clock.pendingTimers).toBe(0);
  });

  it('The target writer reads a client on once other connections have left the room that they had', async () => {
    const budget = new WindowBudget(64 * 1024);
    const { clock, writer, readOnCount } = await blocked(budget);
    clock.advanceSync(100);
    budget.take(64 * 1024);
    expect(writer.write(Buffer.from('second'))).toBe(false);
    clock.advanceSync(1_000);
    expect(readOnCount()).toBe(1);
    budget.giveBack(64 * 1024);
    clock.advanceSync(100);
    expect(readOnCount()).toBe(2);
    expect(writer.write(Buffer.from('third'))).toBe(true);
    writer.discard();
    expect(clock.pendingTimers).toBe(0);
  });

  it('The target writer drops its backlog when it is discarded', async () => {
    const { stream, clock, writer } = await blocked();
    clock.advanceSync(100);
    writer.write(Buffer.from('second'));
    writer.discard();
    stream.hasRoom = true;
    writer.onWritable();
    expect(stream.text).toBe('first ');
    expect(clock.pendingTimers).toBe(0);
  });
});
