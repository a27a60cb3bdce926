import { describe, expect, it } from 'vitest';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import type { AgentRecord, Directory } from '../../src/broker/directory.ts';

/** How long something that is on its way may take: a machine may be busy. */
const soon = { timeout: 10_000 };

/** What every directory does. `make` gives an empty one. */
export function describeDirectory(name: string, make: () => Promise<Directory>): void {
  describe(`directory: ${name}`, () => {
    const agent = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1' };

    it('The directory knows nothing of a cluster without claims', async () => {
      const directory = await make();
      expect(await directory.locate('c1')).toEqual([]);
    });

    it("The directory locates an agent by its cluster's name and alias", async () => {
      const directory = await make();
      const claim = await directory.claim(agent);
      expect(claim).toMatchObject(agent);
      expect(await directory.locate('c1')).toEqual([claim]);
      expect(await directory.locate(await clusterAlias('c1'))).toEqual([claim]);
    });

    it('The directory lists the agents of a cluster, newest claim first', async () => {
      const directory = await make();
      const first = await directory.claim(agent);
      const second = await directory.claim({ ...agent, agent: 'b', replica: 'r2' });
      expect(second.epoch).toBeGreaterThan(first.epoch);
      expect(await directory.locate('c1')).toEqual([second, first]);
    });

    it('The directory replaces the claim of an agent that connects again, with a higher epoch', async () => {
      const directory = await make();
      const old = await directory.claim(agent);
      const moved = await directory.claim({ ...agent, replica: 'r2' });
      expect(moved.epoch).toBeGreaterThan(old.epoch);
      expect(await directory.locate('c1')).toEqual([moved]);
    });

    it('The directory keeps the two tunnels of one agent side by side', async () => {
      const directory = await make();
      const first = await directory.claim(agent);
      const second = await directory.claim({ ...agent, tunnel: 1, replica: 'r2' });
      expect(await directory.locate('c1')).toEqual([second, first]);
    });

    it('The directory keeps the tunnels of two processes with the same agent id side by side', async () => {
      const directory = await make();
      const fenced: AgentRecord[] = [];
      directory.onFenced((claim) => fenced.push(claim));
      const one = await directory.claim({ ...agent, instance: 'one' });
      const two = await directory.claim({ ...agent, instance: 'two' });
      expect(await directory.locate('c1')).toEqual([two, one]);
      await directory.release(one);
      expect(await directory.locate('c1')).toEqual([two]);
      expect(fenced).toEqual([]);
    });

    it('The directory replaces the claim of a process that connects again', async () => {
      const directory = await make();
      await directory.claim({ ...agent, instance: 'one' });
      const again = await directory.claim({ ...agent, instance: 'one' });
      expect(await directory.locate('c1')).toEqual([again]);
    });

    it('The directory reports that a newer claim has fenced an older one', async () => {
      const directory = await make();
      const fenced = Promise.withResolvers<AgentRecord>();
      directory.onFenced(fenced.resolve);
      const old = await directory.claim(agent);
      await directory.claim({ ...agent, replica: 'r2' });
      expect(await fenced.promise).toEqual(old);
    });

    it('The directory ignores a release by the owner of an older claim', async () => {
      const directory = await make();
      const old = await directory.claim(agent);
      const moved = await directory.claim({ ...agent, replica: 'r2' });
      await directory.release(old);
      expect(await directory.locate('c1')).toEqual([moved]);
    });

    it('The directory lists the claims of standby agents after all others', async () => {
      const directory = await make();
      const retires = await directory.claim({ ...agent, agent: 'b' });
      await directory.retire(retires);
      const standby = await directory.claim({ ...agent, standby: true });
      expect(await directory.locate('c1')).toEqual([{ ...retires, retiring: true }, standby]);
    });

    it('The directory lists a retiring claim last until it is released', async () => {
      const directory = await make();
      const stays = await directory.claim({ ...agent, agent: 'b' });
      const retires = await directory.claim(agent);
      await directory.retire(retires);
      await directory.retire(retires);
      expect(await directory.locate('c1')).toEqual([stays, { ...retires, retiring: true }]);
      await directory.release(retires);
      await directory.retire(retires);
      expect(await directory.locate('c1')).toEqual([stays]);
    });

    it('The directory does not retire a newer claim of the same tunnel', async () => {
      const directory = await make();
      const old = await directory.claim(agent);
      await directory.retire(old);
      const moved = await directory.claim({ ...agent, replica: 'r2' });
      await directory.retire(old);
      expect(await directory.locate('c1')).toEqual([moved]);
    });

    it('The directory forgets a released claim by name and alias, and a second release does nothing', async () => {
      const directory = await make();
      const claim = await directory.claim(agent);
      await directory.release(claim);
      await directory.release(claim);
      expect(await directory.locate('c1')).toEqual([]);
      expect(await directory.locate(await clusterAlias('c1'))).toEqual([]);
    });

    it('The directory never resolves an alias to a cluster that is named like it', async () => {
      const directory = await make();
      const alias = await clusterAlias('c1');
      await directory.claim({ ...agent, cluster: alias });
      expect(await directory.locate(alias)).toEqual([]);
      const claim = await directory.claim(agent);
      expect(await directory.locate(alias)).toEqual([claim]);
    });

    it('The directory shows a claim and its release at once, whatever was located before', async () => {
      const directory = await make();
      expect(await directory.locate('c1')).toEqual([]);
      const claim = await directory.claim(agent);
      expect(await directory.locate('c1')).toEqual([claim]);
      await directory.release(claim);
      expect(await directory.locate('c1')).toEqual([]);
    });

    it('The directory keeps the newer of two claims that were made at the same time', async () => {
      const directory = await make();
      const fenced: AgentRecord[] = [];
      directory.onFenced((claim) => fenced.push(claim));
      const claims = await Promise.all([directory.claim(agent), directory.claim(agent)]);
      const [newer, older] = claims.toSorted((a, b) => b.epoch - a.epoch);
      expect(newer!.epoch).toBeGreaterThan(older!.epoch);
      expect(await directory.locate('c1')).toEqual([newer]);
      expect(fenced).toEqual([older]);
    });

    it('The directory locates an invalidated claim again when it is still valid', async () => {
      const directory = await make();
      const claim = await directory.claim(agent);
      directory.invalidate(claim);
      expect(await directory.locate('c1')).toEqual([claim]);
    });

    it('The directory is not degraded in normal operation, and can be closed twice', async () => {
      const directory = await make();
      await directory.claim(agent);
      expect(directory.degraded).toBeUndefined();
      await directory.close();
      await directory.close();
    });

    it('The directory keeps the agents of different clusters apart', async () => {
      const directory = await make();
      await directory.claim(agent);
      const other = await directory.claim({ ...agent, cluster: '2nd' });
      expect(await directory.locate('2nd')).toEqual([other]);
    });
  });
}

/**
 * The contract of a directory that several replicas share. `make` returns an empty directory for
 * each of two replicas. Time does not pass for them, so a replica learns of changes only through
 * notifications.
 */
export function describeSharedDirectory(
  name: string,
  make: () => Promise<readonly [Directory, Directory]>,
): void {
  describe(`directory shared by replicas: ${name}`, () => {
    const onFirst = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1' };
    const onSecond = { ...onFirst, replica: 'r2', address: 'ws://r2' };

    it("The directory locates another replica's claim by name and by alias", async () => {
      const [first, second] = await make();
      const claim = await first.claim(onFirst);
      expect(await second.locate('c1')).toEqual([claim]);
      expect(await second.locate(await clusterAlias('c1'))).toEqual([claim]);
    });

    it('The directory tells a replica of claims and releases at other replicas', async () => {
      const [first, second] = await make();
      expect(await second.locate('c1')).toEqual([]);
      const claim = await first.claim(onFirst);
      await expect.poll(() => second.locate('c1'), soon).toEqual([claim]);
      const other = await first.claim({ ...onFirst, tunnel: 1 });
      await expect.poll(() => second.locate('c1'), soon).toEqual([other, claim]);
      await first.release(claim);
      await expect.poll(() => second.locate('c1'), soon).toEqual([other]);
    });

    it('The directory tells a replica of retiring claims at other replicas', async () => {
      const [first, second] = await make();
      const claim = await first.claim(onFirst);
      expect(await second.locate('c1')).toEqual([claim]);
      await first.retire(claim);
      const retiring = { ...claim, retiring: true };
      await expect.poll(() => second.locate('c1'), soon).toEqual([retiring]);
      expect(await first.locate('c1')).toEqual([retiring]);
    });

    it('The directory fences the claim of a replica that the agent has left', async () => {
      const [first, second] = await make();
      const fenced = Promise.withResolvers<AgentRecord>();
      first.onFenced(fenced.resolve);
      const old = await first.claim(onFirst);
      const moved = await second.claim(onSecond);
      expect(moved.epoch).toBeGreaterThan(old.epoch);
      expect(await fenced.promise).toEqual(old);
      expect(await first.locate('c1')).toEqual([moved]);
    });

    it('The directory reports another process with the same agent id at another replica', async () => {
      const [first, second] = await make();
      const other = Promise.withResolvers<AgentRecord>();
      first.onOtherProcess(other.resolve);
      const claim = await first.claim({ ...onFirst, instance: 'one' });
      await second.claim({ ...onSecond, agent: 'b', instance: 'two' });
      const newer = await second.claim({ ...onSecond, instance: 'three' });
      expect(await other.promise).toEqual(claim);
      await expect.poll(async () => (await first.locate('c1')).slice(0, 1), soon).toEqual([newer]);
    });

    it('The directory ignores a release by a replica that the agent has left', async () => {
      const [first, second] = await make();
      const old = await first.claim(onFirst);
      const moved = await second.claim(onSecond);
      await first.release(old);
      await expect.poll(() => first.locate('c1'), soon).toEqual([moved]);
      expect(await second.locate('c1')).toEqual([moved]);
    });

    it('The directory assigns higher epochs to an agent that moves back and forth', async () => {
      const [first, second] = await make();
      const epochs: number[] = [];
      for (let times = 0; times < 3; times++) {
        epochs.push((await first.claim(onFirst)).epoch, (await second.claim(onSecond)).epoch);
      }
      expect(epochs).toEqual([...new Set(epochs)].toSorted((a, b) => a - b));
    });

    it('The directory lists the tunnels of one agent to two replicas', async () => {
      const [first, second] = await make();
      const one = await first.claim(onFirst);
      const two = await second.claim({ ...onSecond, tunnel: 1 });
      for (const directory of [first, second]) {
        await expect.poll(() => directory.locate('c1'), soon).toEqual([two, one]);
      }
    });
  });
}
