import { once } from 'node:events';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTarget } from '../../testkit/world/target.ts';
import { logged, startCulvert, startWorld, type World } from '../../testkit/world/world.ts';

describe('culvert connect', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ agentArgs: ['--allow', '127.0.0.1:*'] });
  }, 30_000);
  afterAll(() => world?.[Symbol.asyncDispose]());

  async function start(target: string) {
    const token = await world.tokens.issue({ kind: 'dialer', name: 'alice' });
    const file = await world.tokens.file(token);
    return startCulvert('connect', [
      ...['--broker-url', world.brokerUrl, '--ca-file', world.certificates.server.ca],
      ...['--token-file', file, '--listen', '127.0.0.1:0', 'cluster1', target],
    ]);
  }

  it('culvert connect carries a connection to a target in the cluster, and ends with SIGTERM', async () => {
    await using target = await startTarget({ mode: 'echo' });
    await using program = await start(`127.0.0.1:${target.port}`);
    const address = await logged(program, 'connect listens', 'address');
    const socket = connect({ port: Number(address.split(':')[1]), allowHalfOpen: true });
    const bytes = Buffer.alloc(2_000_000, 'culvert');
    socket.end(bytes);
    expect((await buffer(socket)).equals(bytes)).toBe(true);
    program.kill('SIGTERM');
    expect(await program.exited).toEqual({ code: 0, signal: null });
  });

  it('culvert connect logs why a target cannot be reached, and resets the connection', async () => {
    await using program = await start('10.9.9.9:80');
    const address = await logged(program, 'connect listens', 'address');
    const socket = connect({ port: Number(address.split(':')[1]) });
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
    expect(await logged(program, 'no connection to the target', 'code')).toBe('forbidden_target');
  });
});
