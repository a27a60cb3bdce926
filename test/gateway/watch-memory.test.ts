import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { silentLogger } from '../../src/base/log/logger.ts';
import { startGatewayServer } from '../../src/gateway/node/gateway-server.ts';
import type { HttpExchange } from '../../src/http-exchange/http-exchange.ts';
import { collectGarbage } from '../../testkit/processes/collect-garbage.ts';
import { testGateway } from './test-gateway.ts';

const watches = 100;
const tokenBytes = 40_000;
/** Both ends of a connection are in this process. */
const maxBytesOfWatch = 25_000;

const silent: HttpExchange = { write: () => true, end() {}, consumed() {}, reset() {} };

it('A silent watch holds no memory for the head of its request', async () => {
  const core = testGateway();
  await using gateway = await startGatewayServer(
    { listen: { host: '127.0.0.1', port: 0 } },
    {
      gateway: core.gateway,
      userLimits: core.limits,
      log: silentLogger,
      open: (_options, handler) => {
        setImmediate(() => handler.onHead({ status: 200, headers: [] }));
        return silent;
      },
    },
  );
  using sockets = new DisposableStack();
  const watch = (index: number): Promise<Socket> => {
    const socket = connect(gateway.address.port, '127.0.0.1');
    sockets.defer(() => socket.destroy());
    const path = `/cluster1/api/v1/namespaces/a-namespace-with-a-long-name-${index}/pods?watch=true`;
    const token = `Authorization: Bearer ${'x'.repeat(tokenBytes)}`;
    socket.write(`GET ${path} HTTP/1.1\r\nHost: gateway.example.com\r\n${token}\r\n\r\n`);
    return new Promise((resolve) => void socket.once('data', () => resolve(socket)));
  };
  const watchAll = async (first: number): Promise<void> => {
    for (let index = 0; index < watches; index++) await watch(first + index);
    await turn();
    collectGarbage();
  };
  // The first ones make code and shared buffers.
  await watchAll(0);
  const before = process.memoryUsage();
  await watchAll(watches);
  const after = process.memoryUsage();
  const growthBytes = after.heapUsed + after.arrayBuffers - (before.heapUsed + before.arrayBuffers);
  expect(growthBytes / watches).toBeLessThan(maxBytesOfWatch);
  expect(core.limits.longRunning).toBe(2 * watches);
});
