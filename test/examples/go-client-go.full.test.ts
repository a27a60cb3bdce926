import { mkdtemp, rm, symlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:https';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { describeWith } from '../../testkit/ground/describe-with.ts';
import { prepareGoBuild } from '../../testkit/ground/go-build.ts';
import { runProgram } from '../../testkit/processes/process.ts';
import { startWorld, type World } from '../../testkit/world/world.ts';

// Only this file needs the program, so this file builds it. Later runs find it in the cache.
const built = await prepareGoBuild(
  {
    title: 'the example with client-go',
    name: 'example-client-go',
    moduleDirectory: fileURLToPath(new URL('../../examples/go-client-go', import.meta.url)),
    packages: { 'go-client-go': '.' },
    duration: 'about a minute',
  },
  (line) => process.stdout.write(`${line}\n`),
);
const go = typeof built === 'string' ? { program: join(built, 'go-client-go') } : built;

describeWith({ go }, 'examples/go-client-go', ({ go }) => {
  let world: World;
  let apiServer: Server;
  let directory: string;

  beforeAll(async () => {
    apiServer = createServer((request, response) => {
      response.setHeader('Content-Type', 'application/json');
      if (request.url!.startsWith('/version')) {
        response.end('{"major":"1","minor":"34","gitVersion":"v1.34.4"}');
      } else if (request.headers.authorization === 'Bearer token') {
        const items = [{ metadata: { name: 'default' } }, { metadata: { name: 'kube-system' } }];
        response.end(JSON.stringify({ kind: 'NamespaceList', apiVersion: 'v1', items }));
      } else {
        response.writeHead(403).end('{"kind":"Status","status":"Failure","message":"anonymous"}');
      }
    });
    apiServer.listen(0, '127.0.0.1');
    await once(apiServer, 'listening');
    const { port } = apiServer.address() as AddressInfo;
    world = await startWorld({ agentArgs: ['--kube-apiserver', `127.0.0.1:${port}`] });
    const { server, client } = world.certificates;
    apiServer.setSecureContext({ cert: readFileSync(server.cert), key: readFileSync(server.key) });
    directory = await mkdtemp(join(tmpdir(), 'culvert-example-'));
    await symlink(server.ca, join(directory, 'ca.crt'));
    await symlink(client.cert, join(directory, 'tls.crt'));
    await symlink(client.key, join(directory, 'tls.key'));
  }, 30_000);
  afterAll(async () => {
    apiServer?.close();
    await world?.[Symbol.asyncDispose]();
    if (directory !== undefined) await rm(directory, { recursive: true });
  });

  const run = (...args: string[]) =>
    runProgram({
      command: go.program,
      args: ['--proxy', world.front.address, '--cluster', 'cluster1', ...args],
      cwd: directory,
    });

  it('the program prints the version of the kube-apiserver without credentials of the cluster', async () => {
    const { code, stdout } = await run();
    expect(stdout).toContain('cluster1 runs Kubernetes v1.34.4\n');
    expect(stdout).toContain('namespaces cannot be listed: ');
    expect(code).toBe(0);
  });

  it('the program lists the namespaces with a token, and verifies the kube-apiserver', async () => {
    const tokenFile = await world.tokens.file('token');
    const verified = ['--cluster-ca', world.certificates.server.ca];
    const name = ['--cluster-server-name', 'localhost'];
    const { stdout } = await run('--token-file', tokenFile, ...verified, ...name);
    expect(stdout).toBe('cluster1 runs Kubernetes v1.34.4\nnamespaces: default, kube-system\n');
  });

  it('the program fails when the certificate of the kube-apiserver has another name', async () => {
    const { code, output } = await run('--cluster-ca', world.certificates.server.ca);
    expect(output).toContain('kubernetes.default.svc');
    expect(code).toBe(1);
  });
});
