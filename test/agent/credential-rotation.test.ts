import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLogger } from '../../src/base/log/logger.ts';
import { Relay } from '../../src/broker/relay.ts';
import { MemoryDirectory } from '../../src/broker/memory-directory.ts';
import { PooledDialer } from '../../src/dialer/pooled-dialer.ts';
import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { acceptWebSocket } from '../../src/websocket/accept.ts';
import { DialedStream } from '../../testkit/stream/dialed-stream.ts';
import { startTarget } from '../../testkit/world/target.ts';

it('credential rotation while connected: streams outlive the old token, and the next tunnel uses the new token', async () => {
  await using stack = new AsyncDisposableStack();
  const directory = stack.adopt(await mkdtemp(join(tmpdir(), 'culvert-rotation-')), (path) =>
    rm(path, { recursive: true }),
  );
  const tokenFile = join(directory, 'token');
  await writeFile(tokenFile, 'the-old-one');
  const relay = new Relay({
    replica: 'r1',
    address: '',
    directory: new MemoryDirectory(),
    clock: systemClock,
    log: silentLogger,
  });
  const shown: (string | undefined)[] = [];
  const sockets: Socket[] = [];
  const server = createServer().on('upgrade', (request, socket, head) => {
    shown.push(request.headers.authorization);
    sockets.push(socket as Socket);
    relay.admit(acceptWebSocket(request, socket, head)!, {
      kind: 'agent',
      cluster: 'c1',
      agent: 'agent-0',
      tunnel: 0,
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const flags = ['--broker-url', url, '--cluster', 'c1', '--token-file', tokenFile];
  const { options } = readAgentOptions(
    [...flags, '--tunnels', '1', '--kube-apiserver', '127.0.0.1'],
    {},
  );
  const agent = stack.use(await startAgent(options, { log: silentLogger }));
  await agent.connected;
  const dialer = stack.use(
    new PooledDialer({
      connect: async (cluster) => {
        const [near, far] = memoryLinkPair(queueMicrotask);
        relay.admit(far, { kind: 'dialer', cluster, dialer: 'test' });
        return near;
      },
      clock: systemClock,
      log: silentLogger,
      software: 'test',
    }),
  );
  const target = stack.use(await startTarget({ mode: 'echo' }));
  const stream = DialedStream.open(dialer, 'c1', { kind: 'tcp', host: 'c1', port: target.port });
  await stream.opened;

  await writeFile(tokenFile, 'the-new-one');
  await stream.write(Buffer.from('before, '));
  expect(shown).toEqual(['Bearer the-old-one']);
  sockets[0]!.destroy();
  await stream.write(Buffer.from('after'));
  stream.fin();
  expect((await stream.readAll()).toString()).toBe('before, after');
  expect(shown).toEqual(['Bearer the-old-one', 'Bearer the-new-one']);
});
