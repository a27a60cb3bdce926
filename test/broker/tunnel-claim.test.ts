import { describe, expect, it } from 'vitest';
import type { AgentClaim, AgentRecord } from '../../src/broker/directory.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { TunnelClaim } from '../../src/broker/tunnel-claim.ts';

const own: AgentClaim = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1' };

/** A directory that answers a claim when it is told to, and notes what was taken back. */
class LateDirectory extends MemoryDirectory {
  readonly answer = Promise.withResolvers<void>();
  readonly released: number[] = [];

  override async claim(claim: AgentClaim): Promise<AgentRecord> {
    const record = await super.claim(claim);
    await this.answer.promise;
    return record;
  }

  override release(claim: AgentRecord): Promise<void> {
    this.released.push(claim.epoch);
    return super.release(claim);
  }
}

describe("a tunnel's claim", () => {
  it('stands when the directory has answered, and whoever waits for it hears so', async () => {
    const directory = new LateDirectory();
    const claim = new TunnelClaim(directory);
    let heard = false;
    const waiting = claim.made.then(() => (heard = true));
    const making = claim.make(own);
    expect([claim.established, claim.epoch, heard]).toEqual([false, 0, false]);
    directory.answer.resolve();
    expect(await making).toBe(true);
    await waiting;
    const [record] = await directory.locate('c1');
    expect([claim.established, claim.epoch]).toEqual([true, record?.epoch]);
    await claim.made;
  });

  it('is found last while its tunnel retires, and not at all once it was taken back', async () => {
    const directory = new LateDirectory();
    directory.answer.resolve();
    const claim = new TunnelClaim(directory);
    await claim.retire();
    await claim.make(own);
    await claim.retire();
    expect(await directory.locate('c1')).toMatchObject([{ agent: 'a', retiring: true }]);
    await claim.withdraw();
    expect(await directory.locate('c1')).toEqual([]);
    await claim.withdraw();
    await claim.retire();
    expect(directory.released).toEqual([claim.epoch]);
  });

  it('is taken back when its tunnel was gone before the answer', async () => {
    const directory = new LateDirectory();
    const claim = new TunnelClaim(directory);
    const waiting = claim.made;
    const making = claim.make(own);
    claim.end();
    await waiting;
    directory.answer.resolve();
    expect(await making).toBe(false);
    expect(claim.established).toBe(false);
    expect(await directory.locate('c1')).toEqual([]);
    await claim.made;
  });

  it('that stood before is taken back as any other, unless it was already', async () => {
    const directory = new LateDirectory();
    const claim = new TunnelClaim(directory);
    claim.restore(7, { ...own, epoch: 7 });
    expect([claim.established, claim.epoch]).toEqual([true, 7]);
    await claim.withdraw();
    const gone = new TunnelClaim(directory);
    gone.restore(8, undefined);
    await gone.withdraw();
    expect(directory.released).toEqual([7]);
  });
});
