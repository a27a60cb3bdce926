import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { patternSha256 } from '../../testkit/stream/pattern.ts';
import { freePort } from '../../testkit/processes/process.ts';
import { startTarget, targetBody } from '../../testkit/world/target.ts';
import { startUnansweringPort } from '../../testkit/network/unanswering-port.ts';
import { publish } from '../../testkit/ground/cache.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import {
  frontFlags,
  runClient,
  type FrontAccess,
} from '../../testkit/ground/konnectivity-client.ts';
import { runLoad, startLoadTarget } from '../../testkit/ground/load.ts';
import {
  startMicrosocks,
  startNginx,
  startRedis,
  startTinyproxy,
} from '../../testkit/ground/services.ts';
import { startUpstream, type Upstream } from '../../testkit/ground/upstream.ts';

describe('the runtime', () => {
  it('is the Node that the lock file names', async () => {
    const { version } = JSON.parse(
      await readFile(new URL('../../node_modules/node/package.json', import.meta.url), 'utf8'),
    ) as { version: string };
    expect(process.version).toBe(`v${version}`);
  });
});

describe('the cache', () => {
  it('publishes a directory whole, and once when two runs fill it at the same time', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'culvert-cache-'));
    const directory = join(parent, 'program');
    const fill = (text: string) => (partial: string) => writeFile(join(partial, 'file'), text);
    await Promise.all([publish(directory, fill('one')), publish(directory, fill('two'))]);
    expect(await readFile(join(directory, 'file'), 'utf8')).toMatch(/^(one|two)$/);
    expect(await readdir(parent)).toEqual(['program']);
    await rm(parent, { recursive: true });
  });

  it('publishes nothing when filling fails', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'culvert-cache-'));
    const failing = publish(join(parent, 'program'), async (partial) => {
      await writeFile(join(partial, 'file'), 'half');
      throw new Error('no network');
    });
    await expect(failing).rejects.toThrow('no network');
    expect(await readdir(parent)).toEqual([]);
    await rm(parent, { recursive: true });
  });
});

describeWith({ go: await ground.go() }, 'upstream konnectivity', ({ go }) => {
  let certificates: TestCertificates;
  let upstream: Upstream;
  let front: FrontAccess;

  beforeAll(async () => {
    certificates = await makeTestCertificates();
    upstream = await startUpstream(go, certificates);
    const { server, client } = certificates;
    front = { address: upstream.front, tls: { serverCa: server.ca, client } };
  });

  afterAll(async () => {
    await upstream?.[Symbol.asyncDispose]();
    await certificates?.[Symbol.asyncDispose]();
  });

  it('carries a GET of the Go client over mTLS', async () => {
    await using target = await startTarget({ mode: 'http' });
    const got = await runClient(go, front, 'get', `http://${target.address}/`);
    expect(got).toMatchObject({ ok: true, status: 200, body: targetBody });
  });

  it('turns away a client whose certificate another CA issued', async () => {
    await using target = await startTarget({ mode: 'http' });
    const tls = { serverCa: certificates.server.ca, client: certificates.agent };
    const got = await runClient(go, { ...front, tls }, 'get', `http://${target.address}/`);
    expect(got.ok).toBe(false);
    expect(target.acceptedCount).toBe(0);
  });

  it('brings down every byte to the Go client', async () => {
    const bytes = 3_000_001;
    await using source = await startTarget({ mode: 'source', bytes, afterFirstByte: true });
    const down = ['--direction', 'down', '--to', source.address, '--bytes', `${bytes}`];
    expect(await runClient(go, front, 'hash', ...down)).toMatchObject({
      ok: true,
      bytes,
      sha256: patternSha256(bytes),
    });
  });

  it('sends up the pattern that we check it against', async () => {
    const bytes = 300_001;
    await using sink = await startTarget({ mode: 'sink' });
    const up = ['--direction', 'up', '--to', sink.address, '--bytes', `${bytes}`];
    // Upstream may cut what is written just before a close; the client's own sum is not touched by that.
    expect(await runClient(go, front, 'hash', ...up)).toMatchObject({
      ok: true,
      sha256: patternSha256(bytes),
    });
  });

  it('echoes on many connections at once', async () => {
    await using target = await startTarget({ mode: 'echo' });
    const got = await runClient(go, front, 'parallel', '--to', target.address, '--count', '20');
    expect(got).toMatchObject({ ok: true, passed: 20, failed: 0 });
  });

  it('tells why a dial failed', async () => {
    const to = `127.0.0.1:${await freePort()}`;
    const got = await runClient(go, front, 'dial-error', '--to', to);
    expect(got).toMatchObject({ ok: true, isDialFailure: true, reason: 'endpoint' });
    expect(got['dialError']).toContain('connection refused');
  });

  it('tells how a cancelled dial ended', async () => {
    await using silent = await startUnansweringPort();
    const args = ['--to', silent.address, '--after', '100ms'];
    const got = await runClient(go, front, 'cancel', ...args);
    expect(got).toMatchObject({ ok: true, isDialFailure: true, reason: 'context' });
  });

  it('serves the load generator, as a front and beside one', async () => {
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

describeWith({ redis: await ground.debian('redis-server') }, 'redis-server', ({ redis }) => {
  it('answers', async () => {
    await using service = await startRedis(redis);
    expect(await exchange(service.port, 'PING\r\n')).toBe('+PONG\r\n');
  });
});

describeWith({ tinyproxy: await ground.debian('tinyproxy') }, 'tinyproxy', ({ tinyproxy }) => {
  it('connects to any port, and asks for the password it was given', async () => {
    await using target = await startTarget({ mode: 'banner', bytes: 10 });
    const head = `CONNECT ${target.address} HTTP/1.1\r\nHost: ${target.address}\r\n`;
    await using open = await startTinyproxy(tinyproxy);
    expect(await exchange(open.port, `${head}\r\n`)).toMatch(/^HTTP\/1\.[01] 200 /);

    await using closed = await startTinyproxy(tinyproxy, { user: 'ada', password: 'secret' });
    expect(await exchange(closed.port, `${head}\r\n`)).toMatch(/^HTTP\/1\.[01] 407 /);
    const authorization = Buffer.from('ada:secret').toString('base64');
    const withPassword = `${head}Proxy-Authorization: Basic ${authorization}\r\n\r\n`;
    expect(await exchange(closed.port, withPassword)).toMatch(/^HTTP\/1\.[01] 200 /);
  });
});

describeWith({ microsocks: await ground.debian('microsocks') }, 'microsocks', (real) => {
  it('asks for the password it was given', async () => {
    await using service = await startMicrosocks(real.microsocks, { user: 'a', password: 'b' });
    const greeting = (method: number) => String.fromCharCode(5, 1, method);
    expect(await exchange(service.port, greeting(0))).toBe('\u0005\ufffd');
    expect(await exchange(service.port, greeting(2))).toBe('\u0005\u0002');
  });
});

describeWith({ nginx: await ground.debian('nginx') }, 'nginx', ({ nginx }) => {
  it('terminates TLS in front of a server', async () => {
    await using certificates = await makeTestCertificates();
    await using target = await startTarget({ mode: 'http' });
    const { server } = certificates;
    await using service = await startNginx(nginx, { tls: server, upstreamPort: target.port });
    const get = request(`https://127.0.0.1:${service.port}/`, { ca: await readFile(server.ca) });
    get.end();
    const [response] = (await once(get, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    expect(await text(response)).toBe(targetBody);
  });
});

/** Sends a request and returns the first thing that comes back. */
async function exchange(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  try {
    socket.write(request);
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString();
  } finally {
    socket.destroy();
  }
}
