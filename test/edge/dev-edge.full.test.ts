import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sampleGreeting } from '../../src/cli/sample-target.ts';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { runClient } from '../../testkit/ground/konnectivity-client.ts';
import { dialFailure, openClient } from '../../testkit/world/front-client.ts';
import { startProgram, type Program } from '../../testkit/processes/process.ts';
import { node } from '../../testkit/world/world.ts';

const script = join(fileURLToPath(new URL('../..', import.meta.url)), 'scripts/dev-edge.ts');
let program: Program;
let address = '';

beforeAll(async () => {
  program = startProgram({
    command: node,
    args: [script, '--konnectivity-listen', '127.0.0.1:0'],
    name: 'dev:edge',
  });
  const [, found] = await program.waitForLine(/^ +konnectivity +(\S+) \(gRPC/);
  address = found!;
}, 30_000);
afterAll(() => program?.stop());

describe('Konnectivity through the Worker, as npm run dev:edge starts it', () => {
  it('The TypeScript client reads the service behind the agent through the Worker', async () => {
    await using client = await openClient({ address });
    const connection = await client.dial('dev:80');
    connection.write('GET / HTTP/1.1\r\nHost: dev\r\nConnection: close\r\n\r\n');
    expect(await text(connection)).toMatch(new RegExp(`^HTTP/1.1 200 [^]*${sampleGreeting}`));
  });

  it('The TypeScript client sends a megabyte through the Worker', async () => {
    await using client = await openClient({ address });
    const connection = await client.dial('dev:80');
    connection.write('GET /bytes/1000000 HTTP/1.1\r\nHost: dev\r\nConnection: close\r\n\r\n');
    const answer = await text(connection);
    expect(answer.length - answer.indexOf('\r\n\r\n') - 4).toBe(1_000_000);
  });

  it('The TypeScript client gets an error for a cluster without an agent through the Worker', async () => {
    await using client = await openClient({ address });
    expect(await dialFailure(client, 'nobody:80')).toMatchObject({
      reason: 'endpoint',
      message: 'No agent available',
    });
  });
});

describeWith(
  { go: await ground.go() },
  'The Go konnectivity client through the Worker',
  ({ go }) => {
    it('The Go client reads the service behind the agent through the Worker', async () => {
      const result = await runClient(go, { address }, 'get', 'http://dev:80/');
      expect(result).toMatchObject({ ok: true, status: 200, body: sampleGreeting });
    });
  },
);

it('The command npm run dev:edge ends in order on a signal', async () => {
  program.kill('SIGTERM');
  expect(await program.exited).toMatchObject({ code: 0 });
});
