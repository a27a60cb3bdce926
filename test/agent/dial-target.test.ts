import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { DestinationPolicy } from '../../src/agent/destination-policy.ts';
import type { DialOptions, DialOutcome } from '../../src/agent/dial-target.ts';
import { OpenTargets } from '../../src/agent/open-targets.ts';
import { TargetConnection } from '../../src/agent/target-connection.ts';
import { systemClock } from '../../src/base/clock.ts';
import { NameError } from '../../src/base/net/name-error.ts';
import type { NameResolver } from '../../src/base/net/name-resolver.ts';
import type { TunnelError } from '../../src/tunnel/errors.ts';
import type { Stream } from '../../src/tunnel/stream.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';

async function listen(host: string, port = 0): Promise<Server> {
  const server = createServer((socket) => socket.resume().on('error', () => {}));
  server.listen(port, host);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return server;
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const namesWith = (...addresses: string[]): NameResolver => ({
  lookup: async () => ({ addresses }),
});

/** Dials with real sockets and real time. */
function dial(host: string, port: number, options: Partial<DialOptions>) {
  const over = Promise.withResolvers<TunnelError | 'accepted'>();
  const outcomes: DialOutcome[] = [];
  const stream = {
    accept: () => over.resolve('accepted'),
    reset: over.resolve,
    fin() {},
    consumed() {},
    write: () => true,
  };
  const target = new TargetConnection(
    stream as unknown as Stream,
    { host, port },
    {
      timeoutMs: 10_000,
      clock: systemClock,
      onDialed: (outcome) => outcomes.push(outcome),
      ...options,
    },
    new OpenTargets(systemClock),
  );
  onTestFinished(() => target.onClose({ code: 'cancelled' } as TunnelError));
  return { over: over.promise, outcomes, target };
}

describe('A target name with several addresses', () => {
  it('A target name with several addresses is reached at the second address when the first never answers', async () => {
    await using silent = await startUnansweringPort();
    await listen('127.0.0.2', silent.port);
    const names = namesWith('127.0.0.1', '127.0.0.2');
    const { over, outcomes } = dial('two.test', silent.port, { names });
    expect(await over).toBe('accepted');
    expect(outcomes).toMatchObject([{ address: '127.0.0.2' }]);
  });

  it('A target name with several addresses is reached at the other address family when one family refuses', async () => {
    const server = await listen('::1');
    const names = namesWith('127.0.0.1', '::1');
    const { over, outcomes } = dial('two.test', portOf(server), { names });
    expect(await over).toBe('accepted');
    expect(outcomes).toMatchObject([{ address: '::1' }]);
  });

  it('A target name may have several dead addresses, because they take less than the time of a dial', async () => {
    await using silent = await startUnansweringPort();
    await listen('127.0.0.2', silent.port);
    const dead = Array.from({ length: 6 }, () => '127.0.0.1');
    const names = namesWith(...dead, '127.0.0.2');
    const { over } = dial('many.test', silent.port, { names, timeoutMs: 5_000 });
    expect(await over).toBe('accepted');
  });

  it('A dial error names each address of the target when all fail', async () => {
    const port = portOf(await listen('127.0.0.3'));
    const { over, outcomes } = dial('two.test', port, { names: namesWith('127.0.0.1', '::1') });
    const error = await over;
    expect(error).toMatchObject({
      code: 'refused',
      message: `dial tcp 127.0.0.1:${port}: connect: connection refused (also tried: [::1]:${port}: connect: connection refused)`,
    });
    expect(outcomes).toMatchObject([{ error: { code: 'refused' } }]);
  });

  it('A target name with several addresses and an unknown name have different errors', async () => {
    const names: NameResolver = {
      lookup: () => Promise.reject(new NameError('not_found', 'no such host')),
    };
    const { over } = dial('nowhere.test', 80, { names });
    expect(await over).toMatchObject({
      code: 'dns',
      message: 'dial tcp: lookup nowhere.test: no such host',
    });
  });
});

describe('The addresses of a target name', () => {
  const policy = new DestinationPolicy({
    cluster: 'c1',
    clusterAlias: 'cluster-abc',
    kubeApiserver: undefined,
    allow: ['*.test:*'],
  });

  function dialChecked(port: number, names: NameResolver) {
    const destination = policy.resolve('name.test', port)!;
    return dial('name.test', port, {
      names,
      addressRefusal: (address) => policy.addressRefusal(destination, address),
    });
  }

  it.each(['127.0.0.1', '::1', '::ffff:127.0.0.1', '0.0.0.0', '::'])(
    'The agent does not connect to the refused address %s of a target name, although a server listens there',
    async (address) => {
      const server = await listen('::');
      let connections = 0;
      server.on('connection', () => connections++);
      const { over, outcomes } = dialChecked(portOf(server), namesWith(address));
      expect(await over).toMatchObject({
        code: 'forbidden_target',
        message: expect.stringContaining(`its address ${address} is`),
      });
      expect([connections, outcomes.length]).toEqual([0, 1]);
    },
  );

  it('The agent looks a target name up once, so another answer in the next moment changes nothing', async () => {
    const server = await listen('127.0.0.1');
    let lookups = 0;
    // The check would see the first answer, and a second lookup would see the other answer.
    const names: NameResolver = {
      lookup: async () => ({ addresses: [lookups++ === 0 ? '10.255.255.1' : '127.0.0.1'] }),
    };
    let connections = 0;
    server.on('connection', () => connections++);
    const { over } = dial('name.test', portOf(server), {
      names,
      timeoutMs: 200,
      addressRefusal: (address) =>
        policy.addressRefusal(policy.resolve('name.test', portOf(server))!, address),
    });
    expect(await over).not.toBe('accepted');
    expect([lookups, connections]).toEqual([1, 0]);
  });

  it('The agent skips reserved addresses of a target name and tries the other addresses', async () => {
    const server = await listen('127.0.0.1');
    const port = portOf(server);
    const listed = new DestinationPolicy({
      cluster: 'c1',
      clusterAlias: 'cluster-abc',
      kubeApiserver: undefined,
      allow: ['*.test:*', `127.0.0.1:${port}`],
    });
    const destination = listed.resolve('name.test', port)!;
    const { over, outcomes } = dial('name.test', port, {
      names: namesWith('127.0.0.2', '::1', '127.0.0.1'),
      addressRefusal: (address) => listed.addressRefusal(destination, address),
    });
    expect(await over).toBe('accepted');
    expect(outcomes).toMatchObject([{ address: '127.0.0.1' }]);
  });
});

/**
 * The kernel's timer of the connection to a port: its kind (2: keepalive) and the remaining time in
 * seconds (Linux).
 */
async function timerOfConnectionTo(port: number): Promise<{ kind: number; seconds: number }> {
  const remote = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = (await readFile('/proc/net/tcp', 'utf8')).split('\n');
  const fields = lines
    .map((line) => line.trim().split(/\s+/))
    .find(([, , to]) => to?.endsWith(remote));
  const [kind = '', ticks = ''] = fields?.[5]?.split(':') ?? [];
  return { kind: Number.parseInt(kind, 16), seconds: Number.parseInt(ticks, 16) / 100 };
}

it('The agent probes an idle target after 15 seconds', async () => {
  const server = await listen('127.0.0.1');
  const { over } = dial('127.0.0.1', portOf(server), {});
  expect(await over).toBe('accepted');
  const { kind, seconds } = await timerOfConnectionTo(portOf(server));
  expect(kind).toBe(2);
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThanOrEqual(15);
});
