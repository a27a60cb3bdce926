import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { startNginx } from '../../testkit/ground/services.ts';
import { echo, isServed, openClient } from '../../testkit/world/front-client.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { startWorld, timesLogged } from '../../testkit/world/world.ts';

/** nginx closes a connection that is silent for 60 s. This needs real time. */
const silenceMs = 70_000;

describeWith(
  { nginx: await ground.debian('nginx') },
  'Tunnels behind nginx that ends TLS',
  ({ nginx }) => {
    it(
      '60 s idle kill: tunnels and a stream in them survive a silence that is longer than nginx allows',
      { timeout: silenceMs + 60_000 },
      async () => {
        await using services = new AsyncDisposableStack();
        await using world = await startWorld({
          plainBroker: true,
          bridgeApart: true,
          route: async ({ brokerUrl, certificates }) => {
            const { server } = certificates;
            const upstreamPort = Number(new URL(brokerUrl).port);
            const ingress = services.use(await startNginx(nginx, { tls: server, upstreamPort }));
            return { url: `wss://127.0.0.1:${ingress.port}`, args: ['--ca-file', server.ca] };
          },
        });
        await using target = await startTarget({ mode: 'echo' });
        await using client = await openClient(world.front);
        const connection = await client.dial(`cluster1:${target.port}`);
        expect(await echo(connection, 'before')).toBe('before');

        await sleep(silenceMs);

        expect(await echo(connection, 'after')).toBe('after');
        expect(await isServed(client, `cluster1:${target.port}`)).toBe(true);
        expect(timesLogged(world.agent, 'connected to the broker')).toBe(1);
        expect(timesLogged(world.bridge, 'session attached')).toBe(1);
      },
    );
  },
);
