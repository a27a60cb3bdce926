import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { startTarget, targetBody } from '../../testkit/world/target.ts';
import { publish } from '../../testkit/ground/cache.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import {
  startMicrosocks,
  startNginx,
  startRedis,
  startTinyproxy,
} from '../../testkit/ground/services.ts';

describe('the runtime of the tests', () => {
  it('The runtime of the tests is the Node that the lock file names', async () => {
    const { version } = JSON.parse(
      await readFile(new URL('../../node_modules/node/package.json', import.meta.url), 'utf8'),
    ) as { version: string };
    expect(process.version).toBe(`v${version}`);
  });
});

describe('the cache of built programs', () => {
  it('The cache publishes a whole directory, once if two runs fill it at the same time', async () => {
    const parent = await mkdtemp(join(tmpdir(), 'culvert-cache-'));
    const directory = join(parent, 'program');
    const fill = (text: string) => (partial: string) => writeFile(join(partial, 'file'), text);
    await Promise.all([publish(directory, fill('one')), publish(directory, fill('two'))]);
    expect(await readFile(join(directory, 'file'), 'utf8')).toMatch(/^(one|two)$/);
    expect(await readdir(parent)).toEqual(['program']);
    await rm(parent, { recursive: true });
  });

  it('The cache publishes nothing when filling fails', async () => {
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

describeWith({ redis: await ground.debian('redis-server') }, 'redis-server', ({ redis }) => {
  it('redis-server answers a PING', async () => {
    await using service = await startRedis(redis);
    expect(await exchange(service.port, 'PING\r\n')).toBe('+PONG\r\n');
  });
});

describeWith({ tinyproxy: await ground.debian('tinyproxy') }, 'tinyproxy', ({ tinyproxy }) => {
  it('tinyproxy connects to any port, and requires its password', async () => {
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
  it('microsocks requires its password', async () => {
    await using service = await startMicrosocks(real.microsocks, { user: 'a', password: 'b' });
    const greeting = (method: number) => String.fromCharCode(5, 1, method);
    expect(await exchange(service.port, greeting(0))).toBe('\u0005\ufffd');
    expect(await exchange(service.port, greeting(2))).toBe('\u0005\u0002');
  });
});

describeWith({ nginx: await ground.debian('nginx') }, 'nginx', ({ nginx }) => {
  it('nginx terminates TLS in front of a server', async () => {
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
