import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { logged, startCulvert, startWorld } from '../../testkit/world/world.ts';

async function startEcho(host: string): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => {}).pipe(socket));
  server.listen(0, host);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

describe('A network without IPv4', () => {
  it('A client reaches a target if broker, bridge, agent and kube-apiserver have IPv6 addresses only', async () => {
    await using world = await startWorld({ plain: true, host: '[::1]', agentArgs: [] });
    expect(world.brokerUrl).toMatch(/^ws:\/\/\[::1\]:\d+$/);
    const client = await openClient(world.front);
    onTestFinished(() => client.close());
    expect(await isServed(client, `cluster1:${await startEcho('::1')}`)).toBe(true);
  });
});

describe('A status port at [::]', () => {
  const flags = ['--broker-url', 'ws://[::1]:1', '--cluster', 'c1', '--status-listen', '[::]:0'];

  it('A status port at [::] answers probes over IPv4 and IPv6', async () => {
    await using agent = startCulvert('agent', flags);
    const address = await logged(agent, 'status listens', 'address');
    const port = /^\[::\]:(\d+)$/.exec(address)?.[1];
    for (const host of ['127.0.0.1', '[::1]']) {
      expect((await fetch(`http://${host}:${port}/healthz`)).status).toBe(200);
    }
  });
});
