import { expect, it } from 'vitest';
import { ObjectDirectory } from '../../src/broker/edge/object-directory.ts';
import { describeDirectory } from '../contracts/directory.contract.ts';

describeDirectory('Durable Object', () => Promise.resolve(new ObjectDirectory()));

const record = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r', address: '', epoch: 7 };

it('The object directory has the claims of surviving sockets and assigns higher epochs', async () => {
  const other = { ...record, agent: 'b', epoch: 3 };
  const directory = new ObjectDirectory({ survivors: [record, other] });
  expect(await directory.locate('c1')).toEqual([record, other]);
  const { epoch: _, ...claim } = record;
  expect(await directory.claim(claim)).toEqual({ ...record, epoch: 8 });
  expect(await directory.locate('c1')).toEqual([{ ...record, epoch: 8 }, other]);
});

it('The object directory publishes the alias before a claim is made', async () => {
  const published: string[] = [];
  const directory = new ObjectDirectory({
    publishAlias: async (alias, cluster) => {
      published.push(alias, cluster, `${(await directory.locate(cluster)).length}`);
    },
  });
  const { epoch: _, ...claim } = { ...record, cluster: 'cluster1' };
  await directory.claim(claim);
  const alias = 'cluster-a140791d2b20a847f2c74c62c384f93fb83691d871e80385';
  expect(published).toEqual([alias, 'cluster1', '0']);
});
