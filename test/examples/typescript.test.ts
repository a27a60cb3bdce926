import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runProgram } from '../../testkit/processes/process.ts';
import { node, startWorld, type World } from '../../testkit/world/world.ts';
import { startTarget, targetBody, type TestTarget } from '../../testkit/world/target.ts';

const program = fileURLToPath(new URL('../../examples/typescript/main.ts', import.meta.url));

describe('examples/typescript', () => {
  let world: World;
  let target: TestTarget;
  let access: readonly string[];

  beforeAll(async () => {
    world = await startWorld();
    target = await startTarget({ mode: 'http' });
    const token = await world.tokens.issue({ kind: 'dialer', name: 'example' });
    access = [
      ...['--broker-url', world.brokerUrl, '--ca-file', world.certificates.server.ca],
      ...['--token-file', await world.tokens.file(token)],
    ];
  }, 30_000);
  afterAll(async () => {
    await target?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
  });

  const run = (...args: string[]) =>
    runProgram({ command: node, args: [program, ...access, ...args] });

  it('the program prints the answer of a server in the cluster', async () => {
    const { code, stdout } = await run('--cluster', 'cluster1', '--port', String(target.port));
    expect(stdout).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(stdout).toContain(targetBody.trim());
    expect(code).toBe(0);
  });

  it('the program fails with the reason when the cluster has no agent', async () => {
    const { code, output } = await run('--cluster', 'cluster2');
    expect(output).toContain('no agent');
    expect(code).toBe(1);
  });
});
