import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer as createProxy } from 'node:http';
import { createServer, type Server } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { findPrograms } from '../../testkit/ground/kubernetes/programs.ts';
import { startSocksProxy } from '../../testkit/network/socks-proxy.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { cli } from './captured-cli.ts';

const programs = await findPrograms(['kubectl']);
const runFile = promisify(execFile);

describeWith({ programs }, 'kubectl with a kubeconfig of culvert', ({ programs }) => {
  let certificates: TestCertificates;
  let folder: string;
  let config: string;
  let gateway: Server;
  let url: string;
  const asked: { readonly path: string; readonly authorization: string | undefined }[] = [];

  beforeAll(async () => {
    certificates = await makeTestCertificates();
    folder = await mkdtemp(join(tmpdir(), 'culvert-kubectl-'));
    config = join(folder, 'config');
    const { cert, key } = await certificates.serverAuthority.issue({
      name: 'gateway',
      usage: 'server',
      dnsNames: ['localhost', 'kubernetes.default.svc'],
    });
    gateway = createServer(
      { cert: await readFile(cert), key: await readFile(key) },
      (request, response) => {
        asked.push({ path: request.url!, authorization: request.headers.authorization });
        response.setHeader('Content-Type', 'application/json');
        response.end(JSON.stringify({ gitVersion: 'v1.34.4' }));
      },
    ).listen(0, '127.0.0.1');
    await once(gateway, 'listening');
    url = `https://localhost:${(gateway.address() as AddressInfo).port}`;
    await writeFile(join(folder, 'token'), 'abc');
  });
  afterAll(async () => {
    gateway.closeAllConnections();
    gateway.close();
    await rm(folder, { recursive: true });
    await certificates[Symbol.asyncDispose]();
  });

  const kubectl = async (...args: string[]) => {
    const env = { KUBECONFIG: config, HOME: folder, PATH: process.env['PATH'] };
    const { stdout } = await runFile(programs.kubectl, args, { env });
    return stdout;
  };
  const write = async (...args: string[]) => {
    const result = await cli(['kubeconfig', '--output', config, '--force', ...args]);
    expect(result).toMatchObject({ code: 0 });
  };
  const getVersion = async (context: string) => {
    asked.length = 0;
    const text = await kubectl('--context', context, 'get', '--raw', '/version');
    expect(JSON.parse(text)).toEqual({ gitVersion: 'v1.34.4' });
    return asked.at(-1);
  };
  const token = () => ['--user-token-file', join(folder, 'token')];

  it('kubectl reaches a cluster by path, with the token from a file', async () => {
    await write('--url', url, '--ca-file', certificates.server.ca, '--cluster', 'c1', ...token());
    expect(await kubectl('config', 'get-contexts', '-o', 'name')).toBe('c1\n');
    expect(await getVersion('c1')).toEqual({ path: '/c1/version', authorization: 'Bearer abc' });
  });

  it('kubectl and culvert kubeconfig change the same file without loss', async () => {
    await write('--url', url, '--cluster', 'c1', '--cluster', 'c2', ...token());
    await kubectl('config', 'set-context', 'c2', '--namespace', 'shop');
    await kubectl('config', 'set-cluster', 'mine', '--server', 'https://mine.example.com');
    await write('--url', url, '--ca-file', certificates.server.ca, '--cluster', 'c2', ...token());
    const view = JSON.parse(await kubectl('config', 'view', '--raw', '-o', 'json')) as {
      readonly clusters: readonly { readonly name: string }[];
      readonly contexts: readonly { readonly name: string; readonly context: object }[];
    };
    expect(view.clusters.map(({ name }) => name).toSorted()).toEqual(['c1', 'c2', 'mine']);
    const context = view.contexts.find(({ name }) => name === 'c2')!.context;
    expect(context).toMatchObject({ namespace: 'shop', cluster: 'c2', user: 'c2' });
    expect(await getVersion('c2')).toMatchObject({ path: '/c2/version' });
  });

  it('kubectl gets its token from culvert credential, which learns the cluster from kubectl', async () => {
    const root = fileURLToPath(new URL('../../', import.meta.url));
    const program = join(folder, 'culvert');
    const script = `#!/bin/sh\nexec "${process.execPath}" "${root}src/cli/main.ts" "$@"\n`;
    await writeFile(program, script, { mode: 0o700 });
    await writeFile(join(folder, 'token-of-c3'), 'token of c3');
    const file = `--exec-arg=--bearer-token-file=${folder}/token-of-{cluster}`;
    const exec = ['--exec-command', program, file];
    await write('--url', url, '--ca-file', certificates.server.ca, '--cluster', 'c3', ...exec);
    expect(await getVersion('c3')).toEqual({
      path: '/c3/version',
      authorization: 'Bearer token of c3',
    });
    await rm(join(folder, 'token-of-c3'));
    await expect(getVersion('c3')).rejects.toThrow(/the token file .*token-of-c3 cannot be used/);
  });

  it('kubectl asks the proxy of a context for the cluster, and trusts only the API server behind it', async () => {
    const destinations: (string | undefined)[] = [];
    const proxy = createProxy()
      .on('connect', (request, socket, head) => {
        destinations.push(request.url);
        const onward = connect(Number(new URL(url).port), '127.0.0.1', () => {
          socket.write('HTTP/1.1 200 OK\r\n\r\n');
          onward.write(head);
          socket.pipe(onward).pipe(socket);
        });
        for (const end of [socket, onward]) end.on('error', () => end.destroy());
      })
      .listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    const address = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const byProxy = ['--form', 'proxy', '--url', address, '--cluster', 'c4', ...token()];
    await write(...byProxy, '--cluster-ca-file', certificates.server.ca);
    expect(await getVersion('c4')).toEqual({ path: '/version', authorization: 'Bearer abc' });
    expect(destinations).toContain('c4:443');
    await write(...byProxy, '--cluster-ca-file', certificates.stranger.ca);
    await expect(getVersion('c4')).rejects.toThrow('certificate signed by unknown authority');
    proxy.close();
    proxy.closeAllConnections();
  });

  it('kubectl sends the name of the cluster to a SOCKS 5 proxy', async () => {
    await using socks = await startSocksProxy({ reply: () => 4 });
    const address = `socks5://127.0.0.1:${socks.port}`;
    const byProxy = ['--form', 'proxy', '--url', address, '--cluster', 'c5', ...token()];
    await write(...byProxy, '--cluster-ca-file', certificates.server.ca);
    await expect(getVersion('c5')).rejects.toThrow('host unreachable');
    expect(socks.asked).toContain('name c5:443');
  });
});
