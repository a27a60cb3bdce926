import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runProgram } from '../../testkit/processes/process.ts';
import { serveTlsGateway, type ServedGateway } from './served-gateway.ts';

const bodyBytes = 300_000;
let directory: string;
let body: string;
let world: ServedGateway;
let url: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'http2-peers-'));
  body = join(directory, 'body');
  await writeFile(body, Buffer.alloc(bodyBytes, 'x'));
  world = await serveTlsGateway();
  url = `${world.gateway.url}/c1/a`;
});
afterAll(async () => {
  await world[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** Answers with the body of the request, and its length as a trailer. */
function echo(): void {
  world.answer = (request, response) => {
    let bytes = 0;
    response.writeHead(200, { Trailer: 'x-bytes' });
    request.on('data', (piece: Buffer) => {
      bytes += piece.length;
      if (!response.write(piece)) request.pause();
    });
    response.on('drain', () => request.resume());
    request.on('end', () => {
      response.addTrailers({ 'x-bytes': String(bytes) });
      response.end();
    });
  };
}

const programs = {
  nghttp: await ground.debian('nghttp'),
  h2load: await ground.debian('h2load'),
};

describeWith(programs, "nghttp2's clients at the gateway", ({ nghttp, h2load }) => {
  it('nghttp sends a padded body, and reads its echo and its trailers', async () => {
    echo();
    const { code, stdout } = await runProgram({
      ...nghttp,
      args: ['-nv', '--no-verify-peer', '-b', '255', '-d', body, url],
    });
    expect(code).toBe(0);
    expect(stdout).toContain(':status: 200');
    expect(stdout).toContain(`x-bytes: ${bodyBytes}`);
    const lengths = [...stdout.matchAll(/recv DATA frame <length=(\d+)/g)].map(([, n]) =>
      Number(n),
    );
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(bodyBytes);
    expect(stdout).not.toContain('recv RST_STREAM');
    expect(stdout).not.toContain('[ERROR]');
  });

  it('nghttp without an HPACK table reads two answers', async () => {
    world.answer = (_request, response) => void response.end('hello');
    const args = ['-nv', '--no-verify-peer', '--header-table-size=0', '-m', '2', url];
    const { code, stdout } = await runProgram({ ...nghttp, args });
    expect(code).toBe(0);
    expect(stdout.match(/:status: 200/g)).toHaveLength(2);
    expect(stdout).not.toContain('[ERROR]');
  });

  it.each([
    ['small answers', []],
    ['echoes in the smallest windows', ['-w', '4', '-W', '16']],
  ])('h2load makes all of its requests with %s', async (_, windows) => {
    echo();
    const isSmall = windows.length === 0;
    const sent = isSmall ? [] : ['-d', body];
    const load = ['-n', isSmall ? '5000' : '20', '-c', isSmall ? '4' : '1', '-m', '20'];
    const { code, stdout } = await runProgram({
      ...h2load,
      args: [...load, ...windows, ...sent, url],
    });
    expect(code).toBe(0);
    const count = isSmall ? 5000 : 20;
    expect(stdout).toContain(`${count} succeeded, 0 failed, 0 errored, 0 timeout`);
    expect(stdout).toContain(`status codes: ${count} 2xx`);
  });
});

describeWith({ curl: await ground.debian('curl') }, 'curl at the gateway', ({ curl }) => {
  const run = (...args: readonly string[]) =>
    runProgram({ ...curl, args: ['--http2', '--insecure', '--silent', '--show-error', ...args] });

  it('curl sends and reads a body, a HEAD and an answer without a body over HTTP/2', async () => {
    echo();
    const format = '%{http_version} %{http_code} %{size_download}';
    const silent = ['--output', join(directory, 'out'), '--write-out', format];
    const posted = await run(...silent, '--data-binary', `@${body}`, url);
    expect(posted.stdout).toBe(`2 200 ${bodyBytes}`);
    world.answer = (request, response) => {
      response.writeHead(request.method === 'HEAD' ? 200 : 204, { 'X-Method': request.method });
      response.end();
    };
    expect((await run('--head', url)).stdout).toMatch(/^HTTP\/2 200 .*\nx-method: HEAD/s);
    expect((await run(...silent, '--request', 'DELETE', url)).stdout).toBe('2 204 0');
  });

  it('curl shows an answer that comes while it sends a body', async () => {
    const unknown = `${world.gateway.url}/No_Cluster/a`;
    const silent = ['--output', join(directory, 'out'), '--write-out', '%{http_code}'];
    for (let times = 0; times < 100; times++) {
      expect(await run(...silent, '--data', '{}', unknown)).toMatchObject({
        code: 0,
        stdout: '404',
      });
    }
  });

  it('curl notices an answer that is cut', async () => {
    world.answer = (_request, response) => {
      response.writeHead(200, { 'Content-Length': 10 });
      response.write('part');
      setImmediate(() => response.destroy());
    };
    const { code, output } = await run(url);
    expect(code).not.toBe(0);
    expect(output).toContain('INTERNAL_ERROR');
  });
});
