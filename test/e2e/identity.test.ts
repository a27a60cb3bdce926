import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { silentLogger, type Logger } from '../../src/base/log/logger.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runClient, type FrontAccess } from '../../testkit/ground/konnectivity-client.ts';
import { AgentAuthority } from '../../testkit/world/agent-authority.ts';
import type { CertificateFiles } from '../../testkit/world/certificates.ts';
import { dialFailure, isServed, openClient } from '../../testkit/world/front-client.ts';
import { runProgram, type Program } from '../../testkit/processes/process.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import { VirtualClock } from '../../testkit/clock/virtual-clock.ts';
import {
  culvert,
  loggedLine,
  startCulvert,
  startWorld,
  type World,
} from '../../testkit/world/world.ts';

const hourMs = 3_600_000;
/** An agent that retries too fast would connect a few times within this time. */
const watchedMs = 3_000;

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world?.[Symbol.asyncDispose]());

describe('An agent whose credential is refused', () => {
  interface Refused {
    readonly what: string;
    readonly status: 401 | 403;
    readonly why: string;
    readonly makeToken: () => Promise<string>;
  }
  const cases: readonly Refused[] = [
    {
      what: "another cluster's token",
      status: 403,
      why: 'speaks for cluster cluster2 only, not for cluster1',
      makeToken: () => world.tokens.issue({ kind: 'agent', cluster: 'cluster2' }),
    },
    {
      what: "a dialer's token",
      status: 403,
      why: 'speaks for no cluster, not for cluster1',
      makeToken: () => world.tokens.issue({ kind: 'dialer', name: 'somebody' }),
    },
    {
      what: 'an expired token',
      status: 401,
      why: 'the token expired at ',
      makeToken: () => world.tokens.issue({ kind: 'agent', cluster: 'cluster1' }, -hourMs),
    },
    {
      what: 'garbage',
      status: 401,
      why: 'what was shown is not a token',
      makeToken: async () => 'garbage-that-is-nobodys-token',
    },
  ];

  interface Started extends Refused {
    readonly token: string;
    readonly agent: Program;
  }
  let started: readonly Started[];
  let startedAtMs: number;
  beforeAll(async () => {
    started = await Promise.all(
      cases.map(async (one, index) => {
        const token = await one.makeToken();
        const id = `refused-${index}`;
        const file = await world.tokens.file(token);
        const caFile = ['--ca-file', world.certificates.server.ca];
        const agent = world.startAgent(file, { args: [...caFile, '--agent-id', id] });
        return { ...one, token, agent };
      }),
    );
    for (const { agent } of started) await loggedLine(agent, 'next attempt');
    startedAtMs = Date.now();
  });

  it('An agent whose credential is refused logs the reason, and waits long before its next attempt', async () => {
    for (const { agent, status, why } of started) {
      const line = await loggedLine(agent, 'no connection to the broker');
      expect(line).toMatchObject({ code: 'rejected', status });
      expect(line['error']).toContain(why);
      const { delayMs } = await loggedLine(agent, 'next attempt');
      expect(delayMs).toBeGreaterThanOrEqual(60_000);
    }
  });

  it('An agent whose credential is refused appears with the reason in the log of the broker', async () => {
    for (const { status, why } of started) {
      const [line] = await world.broker.waitForLine(new RegExp(`^.*"status":${status}.*${why}.*$`));
      expect(JSON.parse(line)).toMatchObject({ event: 'connection refused', path: '/v1/agent' });
    }
  });

  it('An agent whose credential is refused has asked the broker only once', async () => {
    await sleep(Math.max(0, startedAtMs + watchedMs - Date.now()));
    const refusals = world.broker.output.match(/"event":"connection refused"/g);
    expect(refusals).toHaveLength(cases.length);
    for (const { agent } of started) expect(agent.output.match(/"status":40[13]/g)).toHaveLength(1);
  });

  it('An agent whose credential is refused leaves no token in any log', async () => {
    expect(world.broker.output).toContain('connection refused');
    for (const { token, agent } of started) {
      for (const { output } of [agent, world.agent, world.broker]) {
        expect(output).not.toContain(token);
        // The signature of the token must not be in the log either.
        expect(output).not.toContain(token.split('.').at(-1));
      }
    }
  });
});

it('An agent with a bad token connects as soon as its file has a better token', async () => {
  const file = await world.tokens.file('not-yet');
  const { broker, brokerUrl, certificates, tokens } = world;
  const link = ['--broker-url', brokerUrl, '--ca-file', certificates.server.ca];
  const flags = [...link, '--cluster', 'rotating', '--token-file', file];
  const clock = new VirtualClock();
  const refused = Promise.withResolvers<void>();
  const log: Logger = {
    ...silentLogger,
    child: () => log,
    debug: (event) => {
      if (event === 'next attempt') refused.resolve();
    },
  };
  await using agent = await startAgent(readAgentOptions(flags, {}).options, { log, clock });
  await refused.promise;
  await writeFile(file, await tokens.issue({ kind: 'agent', cluster: 'rotating' }));
  // One minute, plus the jitter of the first attempt.
  await clock.advance(61_000);
  await agent.connected;
  const connected = /^.*"cluster":"rotating".*"event":"agent connected".*$/;
  const [line] = await broker.waitForLine(connected);
  expect(JSON.parse(line)).toMatchObject({ program: 'broker' });
});

/** Certificates that must be refused. */
const outsiders: readonly [string, (world: World) => CertificateFiles][] = [
  ["of the agents' CA", ({ certificates }) => certificates.agent],
  ["of a stranger's CA", ({ certificates }) => certificates.stranger],
];
const withCertificate = (client?: CertificateFiles): FrontAccess => ({
  address: world.front.address,
  tls: { serverCa: world.certificates.server.ca, ...(client && { client }) },
});

describeWith({ go: await ground.go() }, 'The Go konnectivity client', ({ go }) => {
  const dialError = (front: FrontAccess, target: TestTarget) =>
    runClient(go, front, 'dial-error', '--to', `cluster1:${target.port}`);

  it.each(outsiders)(
    'The Go konnectivity client is refused with a certificate %s',
    async (_, certificateOf) => {
      await using target = await startTarget({ mode: 'echo' });
      expect(await dialError(withCertificate(certificateOf(world)), target)).toMatchObject({
        ok: true,
        dialError: expect.stringMatching(/./),
      });
      expect(target.acceptedCount).toBe(0);
    },
  );

  it('The Go konnectivity client is refused without a certificate', async () => {
    await using target = await startTarget({ mode: 'echo' });
    expect(await dialError(withCertificate(), target)).toMatchObject({ ok: true });
    expect(target.acceptedCount).toBe(0);
  });
});

describe('The TypeScript konnectivity client', () => {
  it.each(outsiders)(
    'The TypeScript konnectivity client is refused with a certificate %s',
    async (_, certificateOf) => {
      await using target = await startTarget({ mode: 'echo' });
      await using client = await openClient(withCertificate(certificateOf(world)));
      const failure = await dialFailure(client, `cluster1:${target.port}`);
      expect(failure.reason).toBe('streamsetup');
      expect(target.acceptedCount).toBe(0);
    },
  );

  it("The TypeScript konnectivity client is accepted with a certificate of the clients' CA", async () => {
    await using target = await startTarget({ mode: 'echo' });
    await using client = await openClient(world.front);
    expect(await isServed(client, `cluster1:${target.port}`)).toBe(true);
  });
});

describe('A bridge in a process of its own', () => {
  it("A bridge with an agent's token reports in each dial that the broker refuses the token", async () => {
    const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const { program, front } = await world.startBridge(await world.tokens.file(token));
    await using client = await openClient(front);
    const failure = await dialFailure(client, 'cluster1:443');
    expect(failure.reason).toBe('endpoint');
    expect(failure.message).toContain('no connection to the broker');
    expect(failure.message).toContain("an agent's credential (of cluster1) opens no session");
    for (const text of [failure.message, program.output]) expect(text).not.toContain(token);
  });
});

describe('Agents with certificates of their registration', () => {
  const names = ['1st', '2nd'] as const;
  let root: string;
  let authority: AgentAuthority;
  let programs: AsyncDisposableStack;
  let broker: Program;
  let front: FrontAccess;
  const flagsOf = (cluster: string, certificateDir: string, url: string) => [
    ...['--cluster', cluster, '--broker-url', url, '--ca-file', world.certificates.server.ca],
    ...['--certificate-dir', certificateDir, '--status-listen', '127.0.0.1:0', '--tunnels', '1'],
    ...['--kube-apiserver', '127.0.0.1'],
  ];
  const start = (command: string, args: readonly string[]): Program =>
    programs.use(startCulvert(command, args));

  beforeAll(async () => {
    programs = new AsyncDisposableStack();
    root = await mkdtemp(join(tmpdir(), 'culvert-registrations-'));
    programs.defer(() => rm(root, { recursive: true, force: true }));
    authority = await AgentAuthority.create();
    await writeFile(join(root, 'agent-ca.crt'), authority.pem);
    const { server, client } = world.certificates;
    broker = start('broker', [
      ...['--listen', '127.0.0.1:0', '--tls-cert', server.cert, '--tls-key', server.key],
      ...['--agent-ca', join(root, 'agent-ca.crt'), '--status-listen', '127.0.0.1:0'],
      ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-client-ca', client.ca],
      ...['--konnectivity-tls-cert', server.cert, '--konnectivity-tls-key', server.key],
    ]);
    const { addresses } = await loggedLine(broker, 'konnectivity bridge listens');
    front = { ...world.front, address: (addresses as string[])[0]! };
  }, 60_000);
  afterAll(() => programs?.disposeAsync());

  it('Agents with certificates serve each their own cluster', async () => {
    const { url } = await loggedLine(broker, 'broker listens');
    for (const name of names) {
      const directory = await authority.directory(join(root, name), { cluster: name });
      const agent = start('agent', flagsOf(name, directory, String(url)));
      await loggedLine(agent, 'connected to the broker');
      const { address } = await loggedLine(agent, 'status listens');
      expect((await fetch(`http://${String(address)}/readyz`)).status).toBe(200);
    }
    await using target = await startTarget({ mode: 'echo' });
    await using client = await openClient(front);
    for (const name of names) expect(await isServed(client, `${name}:${target.port}`)).toBe(true);
  }, 60_000);

  it('Agents with certificates cannot register as another cluster, and cannot connect as clients', async () => {
    const { url } = await loggedLine(broker, 'broker listens');
    const liar = start('agent', flagsOf('2nd', join(root, '1st'), String(url)));
    const line = await loggedLine(liar, 'no connection to the broker');
    // The certificate is valid, but for another cluster.
    expect(line).toMatchObject({ code: 'rejected', status: 403 });
    expect(line['error']).toContain('speaks for cluster 1st only, not for 2nd');
    const own = { cert: join(root, '1st', 'tls.crt'), key: join(root, '1st', 'tls.key'), ca: '' };
    const tls = { serverCa: world.certificates.server.ca, client: own };
    await using target = await startTarget({ mode: 'echo' });
    await using client = await openClient({ ...front, tls });
    expect((await dialFailure(client, `1st:${target.port}`)).reason).toBe('streamsetup');
    expect(target.acceptedCount).toBe(0);
    const { address } = await loggedLine(broker, 'status listens');
    const metrics = await (await fetch(`http://${String(address)}/metrics`)).text();
    expect(metrics).toContain('culvert_broker_rejected_connections_total{status="403"} 1');
    const jwt = /eyJ[\w-]+\.[\w-]+\.[\w-]+/;
    for (const { output } of [liar, broker]) expect(output).not.toMatch(jwt);
  }, 60_000);
});

describe('A broker that other machines can reach', () => {
  it('A broker that other machines can reach does not start without a key for tokens, and says what to do', async () => {
    const { code, output } = await runProgram(culvert('broker', ['--listen', '0.0.0.0:0']));
    expect(code).toBe(2);
    expect(output).toContain('--listen=0.0.0.0:0 can be reached from other machines');
    expect(output).toContain('--token-public-key');
    expect(output).not.toContain('broker listens');
  });
});
