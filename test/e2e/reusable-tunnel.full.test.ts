import { expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { frontFlags } from '../../testkit/ground/konnectivity-client.ts';
import { runProgram } from '../../testkit/processes/process.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { startWorld } from '../../testkit/world/world.ts';

describeWith(
  { client: await ground.reusableClient() },
  'The reusable tunnel of konnectivity-client 0.37',
  ({ client }) => {
    it(
      'The reusable tunnel carries 1,000 dials at the same time over one connection with mTLS',
      { timeout: 120_000 },
      async () => {
        await using world = await startWorld();
        await using target = await startTarget({ mode: 'echo' });
        const { front } = world;
        const flags = ['--to', `cluster1:${target.port}`, '--count', '1000'];
        const { stdout } = await runProgram({
          command: client.reusable,
          args: [...frontFlags(front), ...flags],
          timeoutMs: 100_000,
        });
        expect(JSON.parse(stdout)).toEqual({ ok: true, connections: 1 });
      },
    );
  },
);
