import { expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { frontFlags } from '../../testkit/ground/konnectivity-client.ts';
import { runLoad, startLoadTarget } from '../../testkit/ground/load.ts';
import { startWorld } from '../../testkit/world/world.ts';

const limitBytes = 16 * 1024 * 1024;

describeWith(
  { go: await ground.go() },
  'A client with transfers beside 20 interactive streams',
  ({ go }) => {
    // A busy machine gets another attempt, because the test measures times.
    it(
      'A client with transfers and a limit keeps it, and the p99 of interactive clients stays within twice of that alone',
      { retry: 3, timeout: 120_000 },
      async () => {
        await using world = await startWorld();
        const flags = ['--client-bytes-per-second', '16MiB'];
        const token = await world.tokens.issue({ kind: 'dialer', name: 'bridge' });
        const { front } = await world.startBridge(await world.tokens.file(token), flags);
        await using target = await startLoadTarget(go);
        const to = `cluster1:${target.address.split(':').at(-1)}`;
        const bulk = await world.certificates.clientAuthority.issue({
          name: 'bulk',
          usage: 'client',
        });
        const common = ['--to', to, '--counter', target.address];
        const interactive = ['interactive', ...frontFlags(front), ...common, '--streams', '20'];
        const time = ['--warmup', '1', '--seconds', '3'];
        const alone = await runLoad(go, [...interactive, ...time]);
        const bulkFront = { ...front, tls: { ...front.tls!, client: bulk } };
        const transfer = ['blast', ...frontFlags(bulkFront), ...common, '--streams', '4'];
        const [blast, beside] = await Promise.all([
          runLoad(go, [...transfer, '--warmup', '1', '--seconds', '5']),
          runLoad(go, [...interactive, ...time]),
        ]);
        expect(blast.bytes! / blast.seconds!).toBeLessThan(1.1 * limitBytes);
        expect(blast.bytes! / blast.seconds!).toBeGreaterThan(0.5 * limitBytes);
        expect(beside.p99Micros! / alone.p99Micros!).toBeLessThanOrEqual(2);
      },
    );
  },
);
