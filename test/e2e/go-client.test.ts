import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { frontFlags, runClient, type ClientRun } from '../../testkit/ground/konnectivity-client.ts';
import { untilConnecting } from '../../testkit/network/connecting-sockets.ts';
import { patternAt } from '../../testkit/stream/pattern.ts';
import { freePort, startProgram } from '../../testkit/processes/process.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';
import { startTarget, targetBody, type TestTarget } from '../../testkit/world/target.ts';
import { startWorld, type World } from '../../testkit/world/world.ts';

const mib = 1024 * 1024;

function patternSum(bytes: number): string {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes;) {
    const piece = patternAt(at, bytes - at);
    hash.update(piece);
    at += piece.length;
  }
  return hash.digest('hex');
}

const go = await ground.go();

for (const bridgeApart of [false, true]) {
  const where = bridgeApart ? 'in a process of its own' : "in the broker's process";

  describeWith({ go }, `The Go konnectivity client, with the bridge ${where}`, ({ go }) => {
    let world: World;
    beforeAll(async () => {
      world = await startWorld({
        bridgeApart,
        agentArgs: ['--allow', '*.svc:*', '--dial-timeout', '1m', '--install-namespace', 'proxies'],
      });
    }, 30_000);
    afterAll(() => world?.[Symbol.asyncDispose]());

    const run = (subCommand: string, ...args: string[]): Promise<ClientRun> =>
      runClient(go, world.front, subCommand, ...args);
    /** The target as the cluster's kube-apiserver, which is how a client addresses it. */
    const through = (target: TestTarget) => `cluster1:${target.port}`;

    it('The Go client reads a real HTTP server through the name of the cluster', async () => {
      await using target = await startTarget({ mode: 'http' });
      const result = await run('get', `http://${through(target)}/`);
      expect(result).toMatchObject({ ok: true, status: 200, body: targetBody });
    });

    it.each([
      'cluster1.proxies',
      'cluster-a140791d2b20a847f2c74c62c384f93fb83691d871e80385.open-cluster-management.proxy',
    ])('The Go client reaches the cluster by the name %s as well', async (name) => {
      await using target = await startTarget({ mode: 'http' });
      const result = await run('get', `http://${name}:${target.port}/`);
      expect(result).toMatchObject({ ok: true, status: 200 });
    });

    it('The Go client sends 64 MiB without changing a byte', { timeout: 60_000 }, async () => {
      await using target = await startTarget({ mode: 'sink' });
      const args = ['--to', through(target), '--bytes', `${64 * mib}`, '--direction', 'up'];
      const result = await run('hash', ...args);
      expect(result).toMatchObject({ ok: true, closeError: '' });
      const [report] = await target.waitForReports(1);
      expect(report).toEqual({ receivedBytes: 64 * mib, sha256: result['sha256'], end: 'fin' });
    });

    it('The Go client receives 64 MiB without changing a byte', { timeout: 60_000 }, async () => {
      await using target = await startTarget({
        mode: 'source',
        bytes: 64 * mib,
        afterFirstByte: true,
      });
      const args = ['--to', through(target), '--bytes', `${64 * mib}`, '--direction', 'down'];
      const result = await run('hash', ...args);
      expect(result).toMatchObject({ ok: true, sha256: patternSum(64 * mib) });
    });

    it(
      'The Go client makes 200 dials at once, each over its own connection',
      { timeout: 60_000 },
      async () => {
        await using target = await startTarget({ mode: 'echo' });
        const result = await run('parallel', '--to', through(target), '--count', '200');
        expect(result).toMatchObject({ ok: true, passed: 200, errors: null });
      },
    );

    it(
      'The Go client loses no byte of 200 targets that speak first',
      { timeout: 60_000 },
      async () => {
        await using target = await startTarget({ mode: 'banner', bytes: 40_000 });
        const args = ['--to', through(target), '--count', '200', '--bytes', '40000'];
        const result = await run('server-first', ...args);
        expect(result).toMatchObject({ ok: true, passed: 200, hung: 0, errors: null });
      },
    );

    it(
      'The Go client delivers all bytes of 50 x 1 MiB that are written and closed at once',
      { timeout: 60_000 },
      async () => {
        await using target = await startTarget({ mode: 'sink' });
        const args = ['--to', through(target), '--count', '50', '--bytes', `${mib}`];
        expect(await run('write-close', ...args)).toMatchObject({ ok: true, closeErrors: null });
        const whole = { receivedBytes: mib, sha256: patternSum(mib), end: 'fin' };
        expect(await target.waitForReports(50)).toEqual(Array.from({ length: 50 }, () => whole));
      },
    );

    it("The Go client gets Go's words for a port without a listener", async () => {
      const port = await freePort();
      expect(await run('dial-error', '--to', `cluster1:${port}`)).toMatchObject({
        ok: true,
        dialError: `dial tcp 127.0.0.1:${port}: connect: connection refused`,
        isDialFailure: true,
        reason: 'endpoint',
      });
    });

    it("The Go client gets Go's words for a host that does not exist", async () => {
      expect(await run('dial-error', '--to', 'nothing.nowhere.svc.cluster1:80')).toMatchObject({
        ok: true,
        dialError: expect.stringMatching(/^dial tcp: lookup nothing\.nowhere\.svc: /),
        reason: 'endpoint',
      });
    });

    it('The Go client gets "No agent available" for a cluster without an agent', async () => {
      expect(await run('dial-error', '--to', 'another-cluster:443')).toMatchObject({
        ok: true,
        dialError: 'No agent available',
        isDialFailure: true,
        reason: 'endpoint',
      });
    });

    it('The Go client that gives up stops the dial at the agent', async () => {
      await using silent = await startUnansweringPort();
      const given = run('cancel', '--to', `cluster1:${silent.port}`, '--after', '1s');
      await untilConnecting(silent.port, 1);
      expect(await given).toMatchObject({ ok: true, reason: 'context' });
      // The agent alone would try longer. In this world its limit is a minute, the bridge's 10 s.
      await untilConnecting(silent.port, 0);
    });

    it.each(['up', 'down'])(
      'slow reader: seven streams of the Go client move beside a stream that is not read (%s)',
      { timeout: 60_000 },
      async (direction) => {
        await using fast = await startTarget(
          direction === 'up'
            ? { mode: 'sink' }
            : { mode: 'source', bytes: Number.POSITIVE_INFINITY, afterFirstByte: true },
        );
        await using stalled = await startTarget({ mode: 'never-reads' });
        const stalledTo = direction === 'up' ? through(stalled) : through(fast);
        const args = ['--to', through(fast), '--stalled-to', stalledTo, '--direction', direction];
        const result = await run('isolation', ...args, '--streams', '8', '--window', '3s');
        expect(result).toMatchObject({ ok: true, streams: 8 });
        for (const rate of result['duringBytesPerSecond'] as number[])
          expect(rate).toBeGreaterThan(0);
      },
    );

    it('The Go client that is killed has its target reset, and the next client is served', async () => {
      await using target = await startTarget({ mode: 'echo' });
      await using client = startProgram({
        command: go.client,
        args: ['hang', ...frontFlags(world.front), '--to', through(target)],
      });
      await client.waitForLine(/"dialed":true/);
      client.kill('SIGKILL');
      const [report] = await target.waitForReports(1);
      expect(report?.end).toBe('reset');
      expect(await run('parallel', '--to', through(target), '--count', '3')).toMatchObject({
        ok: true,
      });
    });
  });
}
