import { afterEach, expect, it, vi } from 'vitest';
import { clusterAlias } from '../../src/base/names/cluster-alias.ts';
import { clusterNameOf } from '../../src/access/cluster-directory.ts';

afterEach(() => void vi.restoreAllMocks());

it('The names of a large fleet are hashed once, and not for each alias that a client dials', async () => {
  const names = Array.from({ length: 2_000 }, (_, at) => `fleet-member-${at}`);
  const directory = { labelsOf: () => undefined, names: () => names };
  const [known, added] = [await clusterAlias('fleet-member-1999'), await clusterAlias('newcomer')];
  const digest = vi.spyOn(crypto.subtle, 'digest');
  const unknown = `cluster-${'0'.repeat(48)}`;
  expect(await clusterNameOf(unknown, directory)).toBe(unknown);
  expect(digest).toHaveBeenCalledTimes(2_000);
  for (let dials = 0; dials < 10; dials++) {
    expect(await clusterNameOf(unknown, directory)).toBe(unknown);
    expect(await clusterNameOf(known, directory)).toBe('fleet-member-1999');
  }
  expect(digest).toHaveBeenCalledTimes(2_000);
  expect(await clusterNameOf(added, directory, ['newcomer'])).toBe('newcomer');
});
