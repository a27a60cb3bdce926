import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { ground } from '../../testkit/ground/ground.ts';
import { startMicrosocks, startTinyproxy } from '../../testkit/ground/services.ts';
import { notLoopback } from '../../testkit/network/connect-proxy.ts';
import { isServed, openClient } from '../../testkit/world/front-client.ts';
import { InspectingProxy } from '../../testkit/network/inspecting-proxy.ts';
import { startIngress, type Ingress } from '../../testkit/network/ingress.ts';
import type { Program } from '../../testkit/processes/process.ts';
import { startTarget } from '../../testkit/world/target.ts';
import { loggedLine, startWorld, timesLogged, type World } from '../../testkit/world/world.ts';

const connected = 'connected to the broker';
const failed = 'no connection to the broker';

/** The broker's URL with a host that the proxy rules do not treat as loopback. */
const away = (brokerUrl: string) => brokerUrl.replace('127.0.0.1', notLoopback);
const named = ['--server-name', 'localhost'];

/** Expects that a client reads through the world's agent. */
async function expectServed(world: World): Promise<void> {
  await using target = await startTarget({ mode: 'echo' });
  await using client = await openClient(world.front);
  expect(await isServed(client, `cluster1:${target.port}`)).toBe(true);
}

describeWith({ tinyproxy: await ground.debian('tinyproxy') }, 'An agent behind a proxy', (real) => {
  const user = 'agent';
  const password = 'open.sesame';
  // The URL must escape reserved characters. Passwords of tinyproxy cannot contain them.
  const proxyUrl = (port: number, given: string) =>
    `http://${user}:${given.replace('.', '%2e')}@127.0.0.1:${port}`;

  it('An agent behind a proxy uses HTTPS_PROXY with user and password', async () => {
    await using proxy = await startTinyproxy(real.tinyproxy, { user, password });
    await using world = await startWorld({
      route: async ({ brokerUrl, certificates }) => ({
        url: away(brokerUrl),
        args: ['--ca-file', certificates.server.ca, ...named],
        env: { HTTPS_PROXY: proxyUrl(proxy.port, password) },
      }),
    });
    await expectServed(world);
    await proxy.program.waitForLine(new RegExp(`CONNECT ${new URL(away(world.brokerUrl)).host} `));
    expect(timesLogged(world.agent, failed)).toBe(0);
    expect(world.agent.output).not.toMatch(/sesame/);
  });

  it("An agent behind a proxy distinguishes a wrong proxy password from a broker's refusal, and retries", async () => {
    await using proxy = await startTinyproxy(real.tinyproxy, { user, password });
    await using world = await startWorld();
    const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const agent = world.startAgent(await world.tokens.file(token), {
      url: away(world.brokerUrl),
      env: { HTTPS_PROXY: proxyUrl(proxy.port, 'wrong.sesame') },
    });
    const line = await loggedLine(agent, failed);
    expect(line).toMatchObject({ code: 'proxy' });
    expect(line['error']).toContain(`the proxy 127.0.0.1:${proxy.port} answered 40`);
    expect(line['error']).toContain('user and password');
    await expect.poll(() => timesLogged(agent, failed), { timeout: 10_000 }).toBeGreaterThan(1);
    expect(agent.output).not.toMatch(/sesame/);
  });
});

describeWith({ microsocks: await ground.debian('microsocks') }, 'An agent behind SOCKS', (real) => {
  const user = 'agent';
  const password = 'open/ses@me';

  it.each(['socks5', 'socks5h'])(
    'An agent behind SOCKS goes through %s:// with user and password',
    async (scheme) => {
      await using proxy = await startMicrosocks(real.microsocks, { user, password });
      const url = `${scheme}://${user}:${encodeURIComponent(password)}@127.0.0.1:${proxy.port}`;
      await using world = await startWorld({
        route: async ({ brokerUrl, certificates }) => ({
          url: away(brokerUrl),
          args: ['--ca-file', certificates.server.ca, ...named],
          env: { ALL_PROXY: url },
        }),
      });
      await expectServed(world);
      await proxy.program.waitForLine(/connected to 0\.0\.0\.0:/);
      expect(timesLogged(world.agent, failed)).toBe(0);
      expect(world.agent.output).not.toMatch(/open.ses|s@me/);
    },
  );

  it('An agent behind SOCKS reports a wrong password without showing the password', async () => {
    await using proxy = await startMicrosocks(real.microsocks, { user, password });
    await using world = await startWorld();
    const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const tokenFile = await world.tokens.file(token);
    const whyOf = async (shown: string) => {
      const agent = world.startAgent(tokenFile, {
        url: away(world.brokerUrl),
        env: { HTTPS_PROXY: `socks5h://${user}:${shown}@127.0.0.1:${proxy.port}` },
      });
      const line = await loggedLine(agent, failed);
      expect(line).toMatchObject({ code: 'proxy' });
      expect(agent.output).not.toMatch(/open(?!ing)|ses@|%ses/);
      return line['error'];
    };
    expect(await whyOf(password)).toMatch(/has a #, .* write it as .*%2F/);
    expect(await whyOf('open%ses')).toMatch(/write % itself as %25/);
    expect(await whyOf('open')).toMatch(/did not accept the user and password/);
  }, 60_000);
});

describe('An agent behind an http:// proxy that inspects TLS', () => {
  it('An agent behind a TLS-inspecting proxy connects with the CAs of broker and proxy, and not with the CA of the broker alone', async () => {
    await using stack = new AsyncDisposableStack();
    let proxy: InspectingProxy | undefined;
    const world = await startWorld({
      route: async ({ brokerUrl, certificates }) => {
        const { server, clientAuthority, directory } = certificates;
        const shown = await clientAuthority.issue({ name: 'proxy', usage: 'server' });
        const authorities = [await readFile(server.ca, 'utf8'), await readFile(shown.ca, 'utf8')];
        proxy = stack.use(await InspectingProxy.start(shown, authorities[0]!));
        const bundle = join(directory, 'bundle.crt');
        await writeFile(bundle, authorities.join('\n'));
        return {
          url: away(brokerUrl),
          args: ['--ca-file', bundle, ...named],
          env: { HTTPS_PROXY: proxy.url },
        };
      },
    });
    stack.use(world);
    await expectServed(world);
    expect(proxy!.read[0]).toBe('GET /v1/agent HTTP/1.1');

    const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const other = world.startAgent(await world.tokens.file(token), {
      url: away(world.brokerUrl),
      args: ['--ca-file', world.certificates.server.ca, ...named],
      env: { HTTPS_PROXY: proxy!.url },
    });
    expect((await loggedLine(other, failed))['error']).toContain('--ca-file');
    expect(timesLogged(other, connected)).toBe(0);
  });
});

describe('An agent before a broker with TLS', () => {
  let world: World;
  let tokenFile: string;
  beforeAll(async () => {
    world = await startWorld();
    const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    tokenFile = await world.tokens.file(token);
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  const caFile = () => ['--ca-file', world.certificates.server.ca];
  const start = (url: string, ...args: string[]): Program =>
    world.startAgent(tokenFile, { url, args });

  it("An agent reports that the broker's certificate is not trusted, and how to trust it", async () => {
    const line = await loggedLine(start(world.brokerUrl), failed);
    expect(line['error']).toMatch(/^no TLS connection to 127\.0\.0\.1:\d+ \(.*certificate.*\)/);
    expect(line['error']).toContain('--ca-file');
  });

  it('An agent expects the name of --server-name, and otherwise reports the names of the certificate', async () => {
    const known = start(world.brokerUrl, ...caFile(), '--server-name', 'localhost');
    await loggedLine(known, connected);
    const misnamed = start(world.brokerUrl, ...caFile(), '--server-name', 'elsewhere.test');
    const line = await loggedLine(misnamed, failed);
    expect(line['error']).toContain('elsewhere.test');
    expect(line['error']).toContain('--server-name');
  });

  it('An agent sends --host-header and --server-name to an ingress that routes by them', async () => {
    await using stack = new AsyncDisposableStack();
    let ingress: Ingress | undefined;
    const hidden = await startWorld({
      plainBroker: true,
      route: async ({ brokerUrl, certificates }) => {
        const tls = await certificates.serverAuthority.issue({
          name: 'ingress',
          usage: 'server',
          dnsNames: ['tunnel.internal'],
        });
        const upstreamPort = Number(new URL(brokerUrl).port);
        const host = 'broker.internal';
        ingress = stack.use(await startIngress({ tls, host, upstreamPort }));
        const args = ['--ca-file', tls.ca, '--server-name', 'tunnel.internal'];
        const url = `wss://127.0.0.1:${ingress.port}`;
        return { url, args: [...args, '--host-header', host] };
      },
    });
    stack.use(hidden);
    await expectServed(hidden);
    expect(ingress?.visits).toEqual([{ host: 'broker.internal', serverName: 'tunnel.internal' }]);
  });

  it('An agent shows a gateway its name and the current headers of a file, and logs none of them', async () => {
    const heads: IncomingHttpHeaders[] = [];
    await using stack = new AsyncDisposableStack();
    const gateway = createServer((request, response) => {
      heads.push(request.headers);
      response.writeHead(403).end();
    });
    gateway.listen(0, '127.0.0.1');
    await once(gateway, 'listening');
    stack.defer(() => void gateway.close());
    const file = join(world.certificates.directory, 'headers');
    await writeFile(file, 'X-Gateway-Key: hunter1\n');
    const { port } = gateway.address() as AddressInfo;
    const args = ['--header', 'X-Gateway-Id=hunter3', '--header-file', file];
    const agent = start(`ws://127.0.0.1:${port}`, ...args);
    await expect.poll(() => heads.length, { timeout: 20_000 }).toBeGreaterThan(0);
    expect(heads[0]).toMatchObject({ 'x-gateway-key': 'hunter1', 'x-gateway-id': 'hunter3' });
    expect(heads[0]!['user-agent']).toMatch(/^culvert-agent\/\d+\./);
    await writeFile(file, 'X-Gateway-Key: hunter2\n');
    const keys = () => heads.map((head) => head['x-gateway-key']);
    await expect.poll(keys, { timeout: 20_000 }).toContain('hunter2');
    await writeFile(file, 'Upgrade: hunter2\n');
    const wrong = /line 1 of .* sets Upgrade, which this program sets itself/;
    await agent.waitForLine(wrong);
    expect(agent.output).not.toMatch(/hunter/);
  });

  it('An agent connects without the proxy to hosts in NO_PROXY', async () => {
    await using proxy = await startTarget({ mode: 'black-hole' });
    await using world = await startWorld({
      route: async ({ brokerUrl, certificates }) => ({
        url: away(brokerUrl),
        args: ['--ca-file', certificates.server.ca, ...named],
        env: { HTTPS_PROXY: `http://${proxy.address}`, NO_PROXY: 'example.com,0.0.0.0/8' },
      }),
    });
    await expectServed(world);
    expect(proxy.acceptedCount).toBe(0);
    // The same environment without NO_PROXY shows that the proxy would be used.
    const token = await world.tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const other = world.startAgent(await world.tokens.file(token), {
      url: away(world.brokerUrl),
      env: { HTTPS_PROXY: `http://${proxy.address}` },
    });
    await expect.poll(() => proxy.acceptedCount, { timeout: 10_000 }).toBe(1);
    expect(timesLogged(other, connected)).toBe(0);
  });
});
