import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { DnsServer } from '../../testkit/network/dns-server.ts';
import { dialFailure, isServed, openClient } from '../../testkit/world/front-client.ts';
import { freeDnsHost, ownResolverConfigs } from '../../testkit/network/own-resolver-config.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { logged, startWorld, type World } from '../../testkit/world/world.ts';

const slowNames = 50;
const goodDials = 30;
const slowRecord = { silent: [4, 6] } as const;

/**
 * The dialer uses names of an attacker's DNS server. The server never answers, or answers with
 * addresses of the agent's own machine.
 */
describeWith({ resolver: ownResolverConfigs() }, 'A dialer of hostile names', () => {
  let directory: string;
  let dns: DnsServer;
  let world: World;
  let target: TestTarget;
  let client: KonnectivityClient;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'culvert-slow-names-'));
    const host = freeDnsHost();
    const slow = Array.from({ length: slowNames }, (_, i) => `slow${i}.shop.svc.cluster.local`);
    dns = await DnsServer.start(
      {
        ...Object.fromEntries(slow.map((name) => [name, slowRecord])),
        'kubernetes.default.svc.cluster.local': { addresses: ['127.0.0.1'] },
        'loopback.shop.svc.cluster.local': { addresses: ['127.0.0.1', '::1'] },
        'mapped.shop.svc.cluster.local': { addresses: ['::ffff:127.0.0.1'] },
        'metadata.shop.svc.cluster.local': { addresses: ['169.254.169.254'] },
      },
      { host, port: 53 },
    );
    const file = join(directory, 'resolv.conf');
    await writeFile(
      file,
      [
        'search shop.svc.cluster.local svc.cluster.local cluster.local',
        `nameserver ${host}`,
        'options ndots:5',
      ].join('\n'),
    );
    world = await startWorld({
      agentResolverConfig: file,
      agentArgs: [
        ...['--kube-apiserver', 'kubernetes.default.svc'],
        ...['--allow', '*.svc:*', '--dial-timeout', '1m', '--status-listen', '127.0.0.1:0'],
      ],
    });
    target = await startTarget({ mode: 'echo' });
    client = await openClient(world.front);
  });
  afterAll(async () => {
    client?.close();
    await Promise.all([world, target, dns].map((part) => part?.[Symbol.asyncDispose]()));
    await rm(directory, { recursive: true, force: true });
  });

  it('A dialer of hostile names does not delay dials of other names while 50 of its own dials wait', async () => {
    const attacker = await openClient(world.front);
    let ended = 0;
    for (let i = 0; i < slowNames; i++) {
      attacker.dial(`slow${i}.shop.svc.cluster1:80`).catch(() => ended++);
    }
    const asked = () => new Set(dns.questions.filter((name) => name.startsWith('slow'))).size;
    // The resolver tries two search domains before the domain without an answer, for both families.
    await expect.poll(asked, { timeout: 15_000 }).toBeGreaterThanOrEqual(2 * slowNames);
    for (let i = 0; i < goodDials; i++) {
      expect(await isServed(client, `cluster1:${target.port}`)).toBe(true);
    }
    expect(ended).toBe(0);
    attacker.close();
  }, 60_000);

  it.each([
    ['loopback', '127.0.0.1'],
    ['mapped', '::ffff:127.0.0.1'],
    ['metadata', '169.254.169.254'],
  ])(
    'A dialer of hostile names does not reach %s addresses of the agent through a name',
    async (name, address) => {
      const failure = await dialFailure(client, `${name}.shop.svc.cluster1:${target.port}`);
      expect(failure.message).toContain(`its address ${address} is`);
      expect(failure.message).toContain('forbidden by the agent');
    },
  );

  it('A dialer of hostile names is visible at the agent: each dial is counted, and logged at debug', async () => {
    const line =
      /"code":"forbidden_target".*"error":"[^"]*169\.254\.169\.254.*"event":"target dialed"/;
    expect(world.agent.output).toMatch(line);
    const address = await logged(world.agent, 'status listens', 'address');
    const metrics = await (await fetch(`http://${address}/metrics`)).text();
    const count = (code: string): number =>
      Number(
        new RegExp(`^culvert_agent_dials_total\\{code="${code}"\\} (\\d+)$`, 'm').exec(
          metrics,
        )?.[1],
      );
    expect([count('ok'), count('forbidden_target')]).toEqual([goodDials, 3]);
    expect(count('cancelled')).toBe(slowNames);
    expect(metrics).toContain(
      `culvert_agent_dial_duration_seconds_count ${goodDials + slowNames + 3}`,
    );
  });
});
