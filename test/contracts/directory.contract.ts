import { describe, expect, it } from 'vitest';
import { clusterAlias } from '../../src/base/cluster-alias.ts';
import type { AgentRecord, Directory } from '../../src/broker/directory.ts';

/** What every directory does. `make` gives an empty one. */
export function describeDirectory(name: string, make: () => Promise<Directory>): void {
  describe(`directory: ${name}`, () => {
    const agent = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1' };

    it('knows nothing of a cluster that nobody claimed', async () => {
      const directory = await make();
      expect(await directory.locate('c1')).toEqual([]);
    });

    it('locates a claimed agent under the name of its cluster and under the alias', async () => {
      const directory = await make();
      const claim = await directory.claim(agent);
      expect(claim).toMatchObject(agent);
      expect(await directory.locate('c1')).toEqual([claim]);
      expect(await directory.locate(await clusterAlias('c1'))).toEqual([claim]);
    });

    it('lists several agents of a cluster, the newest claim first', async () => {
      const directory = await make();
      const first = await directory.claim(agent);
      const second = await directory.claim({ ...agent, agent: 'b', replica: 'r2' });
      expect(second.epoch).toBeGreaterThan(first.epoch);
      expect(await directory.locate('c1')).toEqual([second, first]);
    });

    it('replaces the claim of an agent that connects again, with a higher epoch', async () => {
      const directory = await make();
      const old = await directory.claim(agent);
      const moved = await directory.claim({ ...agent, replica: 'r2' });
      expect(moved.epoch).toBeGreaterThan(old.epoch);
      expect(await directory.locate('c1')).toEqual([moved]);
    });

    it('keeps the two tunnels of one agent side by side', async () => {
      const directory = await make();
      const first = await directory.claim(agent);
      const second = await directory.claim({ ...agent, tunnel: 1, replica: 'r2' });
      expect(await directory.locate('c1')).toEqual([second, first]);
    });

    it('tells whoever made a claim that a newer one has fenced it out', async () => {
      const directory = await make();
      const fenced = Promise.withResolvers<AgentRecord>();
      directory.onFenced(fenced.resolve);
      const old = await directory.claim(agent);
      await directory.claim({ ...agent, replica: 'r2' });
      expect(await fenced.promise).toEqual(old);
    });

    it('ignores a release by the owner of an older claim', async () => {
      const directory = await make();
      const old = await directory.claim(agent);
      const moved = await directory.claim({ ...agent, replica: 'r2' });
      await directory.release(old);
      expect(await directory.locate('c1')).toEqual([moved]);
    });

    it('forgets a released claim, name and alias, and a second release does nothing', async () => {
      const directory = await make();
      const claim = await directory.claim(agent);
      await directory.release(claim);
      await directory.release(claim);
      expect(await directory.locate('c1')).toEqual([]);
      expect(await directory.locate(await clusterAlias('c1'))).toEqual([]);
    });

    it('prefers a cluster that is named like the alias of another one', async () => {
      const directory = await make();
      await directory.claim(agent);
      const alias = await clusterAlias('c1');
      const impostor = await directory.claim({ ...agent, cluster: alias });
      expect(await directory.locate(alias)).toEqual([impostor]);
    });

    it('keeps the agents of different clusters apart', async () => {
      const directory = await make();
      await directory.claim(agent);
      const other = await directory.claim({ ...agent, cluster: '2nd' });
      expect(await directory.locate('2nd')).toEqual([other]);
    });
  });
}
