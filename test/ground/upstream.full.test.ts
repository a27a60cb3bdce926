import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import {
  frontFlags,
  runClient,
  type FrontAccess,
} from '../../testkit/ground/konnectivity-client.ts';
import { runLoad, startLoadTarget } from '../../testkit/ground/load.ts';
import { startUpstream, type Upstream } from '../../testkit/ground/upstream.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';
import { freePort } from '../../testkit/processes/process.ts';
import { patternSha256 } from '../../testkit/stream/pattern.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { startTarget, targetBody } from '../../testkit/world/target.ts';

const real = { go: await ground.go(), programs: await ground.upstream() };

describeWith(real, 'upstream konnectivity', ({ go, programs }) => {
  let certificates: TestCertificates;
  let upstream: Upstream;
  let front: FrontAccess;

  beforeAll(async () => {
    certificates = await makeTestCertificates();
    upstream = await startUpstream(programs, certificates);
    const { server, client } = certificates;
    front = { address: upstream.front, tls: { serverCa: server.ca, client } };
  });

  afterAll(async () => {
    await upstream?.[Symbol.asyncDispose]();
    await certificates?.[Symbol.asyncDispose]();
  });

  it('Upstream konnectivity carries a GET of the Go client over mTLS', async () => {
    await using target = await startTarget({ mode: 'http' });
    const got = await runClient(go, front, 'get', `http://${target.address}/`);
    expect(got).toMatchObject({ ok: true, status: 200, body: targetBody });
  });

  it('Upstream konnectivity refuses a client whose certificate another CA issued', async () => {
    await using target = await startTarget({ mode: 'http' });
    const tls = { serverCa: certificates.server.ca, client: certificates.agent };
    const got = await runClient(go, { ...front, tls }, 'get', `http://${target.address}/`);
    expect(got.ok).toBe(false);
    expect(target.acceptedCount).toBe(0);
  });

  it('Upstream konnectivity delivers every byte of a download to the Go client', async () => {
    const bytes = 3_000_001;
    await using source = await startTarget({ mode: 'source', bytes, afterFirstByte: true });
    const down = ['--direction', 'down', '--to', source.address, '--bytes', `${bytes}`];
    expect(await runClient(go, front, 'hash', ...down)).toMatchObject({
      ok: true,
      bytes,
      sha256: patternSha256(bytes),
    });
  });

  it('Upstream konnectivity delivers every byte of an upload of the pattern', async () => {
    const bytes = 300_001;
    await using sink = await startTarget({ mode: 'sink' });
    const up = ['--direction', 'up', '--to', sink.address, '--bytes', `${bytes}`];
    // Upstream may cut what is written just before a close; the client's own sum is not touched by that.
    expect(await runClient(go, front, 'hash', ...up)).toMatchObject({
      ok: true,
      sha256: patternSha256(bytes),
    });
  });

  it('Upstream konnectivity carries many echo connections at once', async () => {
    await using target = await startTarget({ mode: 'echo' });
    const got = await runClient(go, front, 'parallel', '--to', target.address, '--count', '20');
    expect(got).toMatchObject({ ok: true, passed: 20, failed: 0 });
  });

  it('Upstream konnectivity reports why a dial failed', async () => {
    const to = `127.0.0.1:${await freePort()}`;
    const got = await runClient(go, front, 'dial-error', '--to', to);
    expect(got).toMatchObject({ ok: true, isDialFailure: true, reason: 'endpoint' });
    expect(got['dialError']).toContain('connection refused');
  });

  it('Upstream konnectivity reports that a dial was cancelled', async () => {
    await using silent = await startUnansweringPort();
    const args = ['--to', silent.address, '--after', '100ms'];
    const got = await runClient(go, front, 'cancel', ...args);
    expect(got).toMatchObject({ ok: true, isDialFailure: true, reason: 'context' });
  });

  it('Upstream konnectivity carries the load generator, which can also connect directly', async () => {
    await using target = await startLoadTarget(go);
    const window = ['--to', target.address, '--seconds', '0.2', '--warmup', '0.1'];
    for (const way of [frontFlags(front), ['--direct']]) {
      const common = [...way, ...window];
      let steady = 0;
      for (const bulk of ['blast', 'drain']) {
        const { mbPerSecond } = await runLoad(
          go,
          [bulk, ...common, '--streams', '3', '--stalled', '0'],
          () => steady++,
        );
        expect(mbPerSecond).toBeGreaterThan(0);
      }
      expect(steady).toBe(2);
      const pingpong = await runLoad(go, ['pingpong', ...common, '--count', '50']);
      expect(pingpong.p50Micros).toBeGreaterThan(0);
      const dial = await runLoad(go, ['dial', ...common, '--count', '10']);
      expect(dial.p50Micros).toBeGreaterThan(0);
    }
  });
});
