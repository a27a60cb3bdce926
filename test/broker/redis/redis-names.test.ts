import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { expect, it, onTestFinished, vi } from 'vitest';
import { systemNames } from '../../../src/base/net/name-resolver.ts';
import { describeWith } from '../../../testkit/ground/describe-with.ts';
import { ground } from '../../../testkit/ground/ground.ts';
import { startUnansweringPort } from '../../../testkit/network/unanswering-port.ts';
import { newPrefix, RedisServer, soon, startReplica } from './redis-ground.ts';

describeWith({ redis: await ground.debian('redis-server') }, 'Redis by name', ({ redis }) => {
  it('Redis is reached at its second address when the first never answers', async () => {
    await using server = await RedisServer.start(redis);
    await using silent = await startUnansweringPort();
    const second = createServer((socket) => {
      const onward = connect(server.port, '127.0.0.1');
      for (const end of [socket, onward]) {
        end.on('error', () => {});
        end.on('close', () => (end === socket ? onward : socket).destroy());
      }
      socket.pipe(onward).pipe(socket);
    });
    second.listen(silent.port, '::1');
    await once(second, 'listening');
    onTestFinished(() => void second.close());
    const lookup = vi
      .spyOn(systemNames, 'lookup')
      .mockResolvedValue({ addresses: ['127.0.0.1', '::1'] });
    onTestFinished(() => lookup.mockRestore());
    const { directory } = await startReplica({
      redis: `redis://redis.test:${silent.port}`,
      replica: 'r1',
      keyPrefix: newPrefix(),
    });
    await expect.poll(() => directory.degraded, soon).toBeUndefined();
    expect(lookup).toHaveBeenCalledWith('redis.test', expect.any(AbortSignal));
  });
});
