import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { untilConnecting } from '../../testkit/network/connecting-sockets.ts';
import { DnsServer } from '../../testkit/network/dns-server.ts';
import { freeDnsHost, ownResolverConfigs } from '../../testkit/network/own-resolver-config.ts';
import {
  startUnansweringPort,
  type UnansweringPort,
} from '../../testkit/network/unanswering-port.ts';
import { startWorld, timesLogged } from '../../testkit/world/world.ts';

/** Answers when an attempt has lasted longer than 250 ms, when Node gives up an address. */
async function answerLate(slow: UnansweringPort): Promise<void> {
  await untilConnecting(slow.port, 1, AbortSignal.timeout(20_000));
  await sleep(500);
  slow.answer();
}

describeWith({ resolver: ownResolverConfigs() }, 'A slow link to a broker with a DNS name', () => {
  it("The first attempt of an agent succeeds over a slow link, although the broker's name has an unusable IPv6 address", async () => {
    const directory = await mkdtemp(join(tmpdir(), 'culvert-slow-link-'));
    onTestFinished(() => rm(directory, { recursive: true, force: true }));
    const host = freeDnsHost();
    // No host has the IPv6 address, because it is a documentation address.
    const names = { 'broker.test': { addresses: ['127.0.0.1', '2001:db8::1'] } };
    await using _dns = await DnsServer.start(names, { host, port: 53 });
    const file = join(directory, 'resolv.conf');
    await writeFile(file, `nameserver ${host}\n`);
    await using parts = new AsyncDisposableStack();
    await using world = await startWorld({
      agentResolverConfig: file,
      route: async ({ brokerUrl, certificates }) => {
        const slow = parts.use(await startUnansweringPort(Number(new URL(brokerUrl).port)));
        answerLate(slow).catch(() => {});
        return {
          url: `wss://broker.test:${slow.port}`,
          args: ['--ca-file', certificates.server.ca, '--server-name', 'localhost'],
        };
      },
    });
    expect(timesLogged(world.agent, 'connected to the broker')).toBe(1);
    expect(timesLogged(world.agent, 'no connection to the broker')).toBe(0);
  });
});
