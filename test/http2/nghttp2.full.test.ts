import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { echoPath, startEchoFront } from '../../testkit/http2/echo-front.ts';
import { runProgram } from '../../testkit/processes/process.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';

const grpc = ['-H', 'content-type: application/grpc', '-H', 'te: trailers'];
const bodyBytes = 300_000;

let directory: string;
let body: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nghttp2-'));
  body = join(directory, 'body');
  await writeFile(body, Buffer.alloc(bodyBytes, 'x'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const programs = {
  nghttp: await ground.debian('nghttp'),
  h2load: await ground.debian('h2load'),
};

describeWith(programs, "nghttp2's clients", ({ nghttp, h2load }) => {
  it.each(['in the clear', 'over TLS'])(
    'nghttp makes a call %s and reads its answer and its status',
    async (transport) => {
      await using certificates = await makeTestCertificates();
      await using front = await startEchoFront(
        transport === 'over TLS' ? certificates.server : undefined,
      );
      const { code, stdout } = await runProgram({
        ...nghttp,
        // A padding of up to 255 bytes in each frame of the client.
        args: ['-nv', '--no-verify-peer', '-b', '255', '-d', body, ...grpc, front.url + echoPath],
      });
      expect(code).toBe(0);
      expect(stdout).toContain(':status: 200');
      expect(stdout).toContain('grpc-status: 0');
      const lengths = [...stdout.matchAll(/recv DATA frame <length=(\d+)/g)].map(([, n]) =>
        Number(n),
      );
      expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(bodyBytes);
      expect(stdout).not.toContain('recv RST_STREAM');
      expect(stdout).not.toContain('[ERROR]');
    },
  );

  it.each(['in the clear', 'over TLS'])(
    'h2load makes thousands of calls on a few connections %s, and all succeed',
    async (transport) => {
      await using certificates = await makeTestCertificates();
      await using front = await startEchoFront(
        transport === 'over TLS' ? certificates.server : undefined,
      );
      const small = join(directory, 'small');
      await writeFile(small, Buffer.alloc(2000, 'y'));
      const load = ['-n', '2000', '-c', '4', '-m', '100', '-d', small];
      const { code, stdout } = await runProgram({
        ...h2load,
        args: [...load, ...grpc, front.url + echoPath],
      });
      expect(code).toBe(0);
      expect(stdout).toContain('2000 succeeded, 0 failed, 0 errored, 0 timeout');
      expect(stdout).toContain('status codes: 2000 2xx');
    },
  );

  it('h2load with the smallest windows makes all of its calls', async () => {
    await using front = await startEchoFront();
    // Windows of 2^4 - 1 bytes for each call and 2^16 - 1 for the connection.
    const load = ['-n', '20', '-c', '1', '-m', '10', '-w', '4', '-W', '16', '-d', body];
    const { stdout } = await runProgram({
      ...h2load,
      args: [...load, ...grpc, front.url + echoPath],
    });
    expect(stdout).toContain('20 succeeded, 0 failed, 0 errored, 0 timeout');
  });
});
