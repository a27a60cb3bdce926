import { expect, it } from 'vitest';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { describeDirectory } from '../contracts/directory.contract.ts';

describeDirectory('memory', () => Promise.resolve(new MemoryDirectory()));

it('computes the alias that Cluster Proxy gives to cluster1', async () => {
  expect(await clusterAlias('cluster1')).toBe(
    'cluster-a140791d2b20a847f2c74c62c384f93fb83691d871e80385',
  );
});
