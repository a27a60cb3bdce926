import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAgent, type RunningAgent } from '../../src/agent/agent.ts';
import { type AgentOptions, readAgentOptions } from '../../src/agent/options.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import type { TokenSubject } from '../../src/base/tokens/token-subject.ts';
import { Secret } from '../../src/base/secret.ts';
import { createRemoteDialer } from '../../src/dialer/node/remote-dialer.ts';
import type { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';
import { freePort } from '../../testkit/processes/process.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { DialedStream } from '../../testkit/stream/dialed-stream.ts';

/** A broker, in whatever form, that the contract's agents and dialers connect to. */
export interface BrokerUnderTest extends AsyncDisposable {
  /** Where agents connect: `ws://`. */
  readonly agentUrl: string;
  /** Where dialers connect. With several replicas, a replica without the agents' tunnels. */
  readonly dialerUrl: string;
  issueToken(subject: TokenSubject, ttlMs?: number): Promise<string>;
}

const proxies = { httpProxy: undefined, httpsProxy: undefined, noProxy: undefined };
const mib = 1024 * 1024;

/**
 * Every broker does this for agents and dialers: one process, several replicas, or a Worker.
 *
 * @param cannot titles of the tests that this broker cannot pass, with the reasons. This is the only
 *   list of differences.
 */
export function describeBroker(
  name: string,
  start: () => Promise<BrokerUnderTest>,
  cannot: Readonly<Record<string, string>> = {},
): void {
  describe(`broker: ${name}`, () => {
    let broker: BrokerUnderTest;
    let dialer: PooledDialer;
    let agents: RunningAgent[] = [];

    beforeAll(async () => {
      broker = await start();
      dialer = await dialerWith(await broker.issueToken({ kind: 'dialer', name: 'contract' }));
    }, 60_000);

    afterAll(async () => {
      dialer?.close();
      await Promise.all(agents.map((agent) => agent.close()));
      agents = [];
      await broker?.[Symbol.asyncDispose]();
    });

    async function dialerWith(token: string): Promise<PooledDialer> {
      return createRemoteDialer({
        brokerUrl: new URL(broker.dialerUrl),
        readToken: async () => new Secret(token),
        caFile: undefined,
        serverName: undefined,
        hostHeader: undefined,
        proxies,
        log: silentLogger,
      });
    }

    async function connectAgent(
      cluster: string,
      token?: string,
      more: Partial<AgentOptions> = {},
    ): Promise<RunningAgent> {
      const shown = new Secret(token ?? (await broker.issueToken({ kind: 'agent', cluster })));
      const { options } = readAgentOptions(
        [
          ...['--broker-url', broker.agentUrl, '--cluster', cluster, '--tunnels=1'],
          ...['--kube-apiserver=127.0.0.1', '--drain-timeout=1s'],
        ],
        {},
      );
      const agent = await startAgent(
        { ...options, readToken: async () => shown, proxies, ...more },
        { log: silentLogger },
      );
      agents.push(agent);
      return agent;
    }

    function open(cluster: string, target: TestTarget, through = dialer): DialedStream {
      return DialedStream.open(through, cluster, { kind: 'tcp', host: cluster, port: target.port });
    }

    const may = (title: string, run: () => Promise<void>): void => {
      const reason = cannot[title];
      // oxlint-disable-next-line vitest/valid-title, vitest/expect-expect -- both are the caller's
      if (reason === undefined) it(title, { timeout: 30_000 }, run);
      else it(`cannot: ${title}: ${reason}`, () => expect(reason).not.toBe(''));
    };

    may('carries a megabyte there and back, unchanged', async () => {
      await (
        await connectAgent('echo')
      ).connected;
      await using target = await startTarget({ mode: 'echo' });
      const stream = open('echo', target);
      const sent = patternAt(0, mib);
      const hash = createHash('sha256').update(sent).digest('hex');
      await stream.opened;
      await stream.write(sent);
      stream.fin();
      expect(
        createHash('sha256')
          .update(await stream.readAll())
          .digest('hex'),
      ).toBe(hash);
      expect(await stream.closed).toBeUndefined();
    });

    may('delivers what comes after the own direction has ended', async () => {
      await (
        await connectAgent('half')
      ).connected;
      await using target = await startTarget({ mode: 'sink' });
      const stream = open('half', target);
      await stream.opened;
      await stream.write(patternAt(0, 1000));
      stream.fin();
      const [report] = await target.waitForReports(1);
      expect(report).toMatchObject({ receivedBytes: 1000, end: 'fin' });
      expect(await stream.closed).toBeUndefined();
    });

    may('serves fifty streams of one session at once', async () => {
      await (
        await connectAgent('many')
      ).connected;
      await using target = await startTarget({ mode: 'echo' });
      const echoed = Array.from({ length: 50 }, async (_, i) => {
        const stream = open('many', target);
        await stream.opened;
        await stream.write(patternAt(i, 10_000));
        stream.fin();
        return Buffer.compare(await stream.readAll(), patternAt(i, 10_000));
      });
      expect(await Promise.all(echoed)).toEqual(Array.from({ length: 50 }, () => 0));
    });

    may('tells the dialer that the target refused', async () => {
      await (
        await connectAgent('refusing')
      ).connected;
      const port = await freePort();
      const target = { kind: 'tcp', host: 'refusing', port } as const;
      const stream = DialedStream.open(dialer, 'refusing', target);
      expect(await stream.closed).toMatchObject({
        code: 'refused',
        message: `dial tcp 127.0.0.1:${port}: connect: connection refused`,
      });
    });

    may('tells the dialer that a destination is forbidden', async () => {
      await (
        await connectAgent('strict')
      ).connected;
      const target = { kind: 'tcp', host: 'elsewhere.example', port: 80 } as const;
      expect(await DialedStream.open(dialer, 'strict', target).closed).toMatchObject({
        code: 'forbidden_target',
      });
    });

    may('tells the dialer that an agent does not lead to its kube-apiserver', async () => {
      const agent = await connectAgent('led-nowhere', undefined, { kubeApiserver: undefined });
      await agent.connected;
      const target = { kind: 'tcp', host: 'led-nowhere', port: 443 } as const;
      expect(await DialedStream.open(dialer, 'led-nowhere', target).closed).toMatchObject({
        code: 'forbidden_target',
        message:
          'dial tcp led-nowhere:443: the agent does not lead to its kube-apiserver (--enable-kube-api-proxy=false)',
      });
    });

    may('answers no_agent for a cluster that nobody speaks for', async () => {
      const target = { kind: 'tcp', host: 'nobody', port: 80 } as const;
      expect(await DialedStream.open(dialer, 'nobody', target).closed).toMatchObject({
        code: 'no_agent',
      });
    });

    may('finds a cluster by its alias', async () => {
      await (
        await connectAgent('cluster1')
      ).connected;
      await using target = await startTarget({ mode: 'echo' });
      const alias = 'cluster-a140791d2b20a847f2c74c62c384f93fb83691d871e80385';
      const stream = open(alias, target);
      await stream.opened;
      stream.fin();
      expect(await stream.closed).toBeUndefined();
    });

    may('ends the streams of an agent that leaves, and finds it no more', async () => {
      const agent = await connectAgent('leaving');
      await agent.connected;
      await using target = await startTarget({ mode: 'echo' });
      const stream = open('leaving', target);
      await stream.opened;
      await agent.close();
      expect(await stream.closed).toMatchObject({ code: 'agent_lost' });
      expect(await open('leaving', target).closed).toMatchObject({ code: 'no_agent' });
    });

    may('keeps the streams of another agent when one leaves', async () => {
      const leaving = await connectAgent('neighbour');
      await Promise.all([leaving.connected, (await connectAgent('staying')).connected]);
      await using target = await startTarget({ mode: 'echo' });
      const stream = open('staying', target);
      await stream.opened;
      await leaving.close();
      await stream.write(patternAt(0, 100));
      stream.fin();
      expect((await stream.readAll()).length).toBe(100);
    });

    may('serves two processes with one agent id side by side', async () => {
      const twins: RunningAgent[] = [];
      await using target = await startTarget({ mode: 'echo' });
      const said = async (stream: DialedStream, word: string) => {
        await stream.opened;
        await stream.write(Buffer.from(word));
        stream.fin();
        return (await stream.readAll()).toString();
      };
      for (let i = 0; i < 2; i++) {
        twins.push(await connectAgent('twins', undefined, { agentId: 'the-same' }));
        await twins[i]!.connected;
      }
      // Sessions prefer the second process until the first has answered that it lives.
      await using sessions = new AsyncDisposableStack();
      const token = await broker.issueToken({ kind: 'dialer', name: 'contract' });
      await expect
        .poll(
          async () => {
            const another = sessions.adopt(await dialerWith(token), (own) => own.close());
            await open('twins', target, another).opened;
            return twins.map(({ streamCount }) => streamCount > 0);
          },
          { timeout: 20_000 },
        )
        .toEqual([true, true]);
      expect(twins.map(({ tunnelCount }) => tunnelCount)).toEqual([1, 1]);
      await twins[0]!.close();
      expect(await said(open('twins', target), 'to the second')).toBe('to the second');
    });

    may('has a dial wait for an agent that returns', async () => {
      const first = await connectAgent('returns');
      await first.connected;
      await using target = await startTarget({ mode: 'echo' });
      await first.close();
      const stream = open('returns', target);
      const second = await connectAgent('returns');
      await second.connected;
      await stream.opened;
      stream.fin();
      expect(await stream.closed).toBeUndefined();
    });

    may('lets no dialer in with the token of an agent', async () => {
      const intruder = await dialerWith(
        await broker.issueToken({ kind: 'agent', cluster: 'echo' }),
      );
      const target = { kind: 'tcp', host: 'echo', port: 80 } as const;
      expect(await DialedStream.open(intruder, 'echo', target).closed).toMatchObject({
        code: 'forbidden',
      });
      intruder.close();
    });

    may('lets nobody in with a token that has expired', async () => {
      const expired = await broker.issueToken({ kind: 'dialer', name: 'late' }, -3_600_000);
      const intruder = await dialerWith(expired);
      const target = { kind: 'tcp', host: 'echo', port: 80 } as const;
      expect(await DialedStream.open(intruder, 'echo', target).closed).toMatchObject({
        code: 'unauthorized',
      });
      intruder.close();
    });

    may('answers 403 to an agent that names another cluster, before the upgrade', async () => {
      const token = await broker.issueToken({ kind: 'agent', cluster: 'mine' });
      const url = new URL('/v1/agent', broker.agentUrl.replace(/^ws/, 'http'));
      const status = await upgradeStatus(url, {
        Authorization: `Bearer ${token}`,
        'Culvert-Cluster': 'yours',
        'Culvert-Agent': 'a',
      });
      expect(status).toBe(403);
    });

    may('is healthy', async () => {
      const url = new URL('/healthz', broker.agentUrl.replace(/^ws/, 'http'));
      expect((await fetch(url)).status).toBe(200);
    });
  });
}

/** The HTTP status that answers an upgrade request; 101 where it is taken. */
async function upgradeStatus(url: URL, headers: Record<string, string>): Promise<number> {
  const { request } = await import('node:http');
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const upgrade = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    'Sec-WebSocket-Protocol': 'culvert.v1',
  };
  const sent = request(url, { headers: { ...upgrade, ...headers } });
  sent.on('response', (response) => {
    response.resume();
    resolve(response.statusCode ?? 0);
  });
  sent.on('upgrade', (_, socket) => {
    socket.destroy();
    resolve(101);
  });
  sent.on('error', reject);
  sent.end();
  return await promise;
}
