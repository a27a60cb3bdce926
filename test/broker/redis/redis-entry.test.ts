import { describe, expect, it } from 'vitest';
import { aliasOf, decodeEntry, encodeClaim } from '../../../src/broker/redis/redis-entry.ts';
import { tunnelKey } from '../../../src/broker/tunnel-name.ts';

const claim = { cluster: 'c1', agent: 'a', tunnel: 0, replica: 'r1', address: 'ws://r1' };

describe('An entry of the directory in Redis', () => {
  it.each([claim, { ...claim, instance: 'one' }])(
    'An entry is read as it was written',
    (written) => {
      const value = `7 9 holder ${encodeClaim(written)}`;
      const { record } = decodeEntry(aliasOf('c1'), tunnelKey(written), value);
      expect(record).toEqual({ ...written, epoch: 7 });
    },
  );

  it('An entry with an instance is accepted by a replica of culvert 0.1', () => {
    const written = { ...claim, instance: 'one' };
    const { agent, tunnel } = JSON.parse(encodeClaim(written)) as typeof claim;
    // What that version checks.
    expect(`${tunnel}/${agent}`).toBe(tunnelKey(written));
  });

  it('An entry is refused where its field names another process', () => {
    const value = `7 9 holder ${encodeClaim({ ...claim, instance: 'one' })}`;
    expect(() => decodeEntry(aliasOf('c1'), '0/a@two', value)).toThrow('of another tunnel');
  });
});
