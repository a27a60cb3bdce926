import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nodeName, podName } from '../../testkit/ground/http/managed-api.ts';
import type { Kubectl } from '../../testkit/ground/kubernetes/kubectl.ts';
import { run } from '../../testkit/ground/kubernetes/run.ts';
import { startProgram } from '../../testkit/processes/process.ts';
import { Plane } from './support/plane.ts';
import { planePrograms } from './support/prepare.ts';

const copiedBytes = 100 * 1024 * 1024;
const forwardedBytes = 8 * 1024 * 1024;
const forwardedConnections = 8;
const programs = await planePrograms();

describe.each([
  { version: 'kubectl 1.34', program: programs.kubernetes.kubectl },
  { version: 'kubectl 1.28, which knows only SPDY,', program: programs.http.oldKubectl },
])('$version through the gateway', ({ program }) => {
  let plane: Plane;
  let kubectl: Kubectl;

  beforeAll(async () => {
    plane = await Plane.start(programs, { clusters: ['cluster1'] });
    kubectl = await plane.kubectl('cluster1', await plane.adminToken('cluster1'), program);
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  const start = (...args: string[]) =>
    startProgram({ ...kubectl.commandLine(args), name: `kubectl ${args.join(' ')}` });

  it('gets objects', async () => {
    expect(await kubectl.run(['get', 'nodes', '-o', 'name'])).toBe(`node/${nodeName}\n`);
  });

  it('applies an object, and sees it with get -w', async () => {
    await kubectl.run(['create', 'configmap', 'existing']);
    await using watching = start('get', 'configmaps', '-w', '--output-watch-events');
    await watching.waitForLine(/ADDED\s+existing/);
    const applied = configMap('applied', '1');
    expect(await kubectl.run(['apply', '-f', '-'], { input: applied })).toMatch(/created/);
    await watching.waitForLine(/ADDED\s+applied/);
    const changed = configMap('applied', '2');
    expect(await kubectl.run(['apply', '-f', '-'], { input: changed })).toMatch(/configured/);
    await watching.waitForLine(/MODIFIED\s+applied/);
  });

  it('follows logs, line by line', async () => {
    await using logs = start('logs', '-f', podName, '--tail=0');
    await logs.waitForLine(/^line 50$/);
    expect(logs.stdout).toMatch(/^line 0\nline 1\nline 2\n/);
  });

  it('executes a program: bytes in both directions, and the exit code', async () => {
    const input = randomBytes(forwardedBytes / 2).toString('hex');
    const exec = ['exec', '-i', podName, '--'];
    expect((await kubectl.run([...exec, 'cat'], { input })) === input).toBe(true);
    await expect(kubectl.run([...exec, 'sh', '-c', 'echo no >&2; exit 3'])).rejects.toThrow(
      /code 3: no/,
    );
  });

  it('executes a shell on a terminal of the size of its own', async () => {
    const { command, args } = kubectl.commandLine(['exec', '-it', podName, '--', 'sh', '-i']);
    const line = [command, ...args].join(' ');
    const output = await run({
      command: 'script',
      args: ['-qefc', `stty rows 41 cols 97; ${line}`, '/dev/null'],
      input: 'tty; stty size\nexit\n',
    });
    expect(output).toMatch(/\/dev\/pts\/\d+/);
    expect(output).toContain('41 97');
  });

  it('attaches to a program', async () => {
    const output = await kubectl.run(['attach', '-i', podName], { input: 'one\ntwo\n' });
    expect(output).toContain('attached: one\nattached: two\n');
  });

  it('copies 100 MiB into a pod and back', async () => {
    const content = randomBytes(copiedBytes);
    const [local, remote] = [join(plane.directory, 'copy'), plane.api('cluster1').podRoot];
    await mkdir(local, { recursive: true });
    await writeFile(join(local, 'there'), content);
    await kubectl.run(['cp', join(local, 'there'), `${podName}:${remote}/copied`]);
    expect(hash(await readFile(join(remote, 'copied')))).toBe(hash(content));
    await kubectl.run(['cp', `${podName}:${remote}/copied`, join(local, 'back')]);
    expect(hash(await readFile(join(local, 'back')))).toBe(hash(content));
  });

  it('forwards a port under load', async () => {
    const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket));
    echo.listen(0, '127.0.0.1');
    await once(echo, 'listening');
    const target = (echo.address() as AddressInfo).port;
    await using forward = start('port-forward', podName, `:${target}`);
    const [, port] = await forward.waitForLine(/127\.0\.0\.1:(\d+) ->/);
    const sent = randomBytes(forwardedBytes);
    const echoed = async (): Promise<string> => {
      const socket: Socket = connect(Number(port), '127.0.0.1');
      await once(socket, 'connect');
      const received = buffer(socket);
      socket.end(sent);
      return hash(await received);
    };
    const all = await Promise.all(Array.from({ length: forwardedConnections }, echoed));
    echo.close();
    expect(new Set(all)).toEqual(new Set([hash(sent)]));
  });

  // Without the flag, kubectl proxy drops the path of the server's URL.
  it('serves the API with kubectl proxy --append-server-path', async () => {
    await using proxy = start('proxy', '--port=0', '--append-server-path');
    const [, address] = await proxy.waitForLine(/Starting to serve on (\S+)/);
    const answer = await fetch(`http://${address}/api/v1/nodes`);
    expect(await answer.json()).toMatchObject({ kind: 'NodeList' });
  });

  it('prints what an unknown cluster, a bad token and a missing right are', async () => {
    const unknown = await plane.kubectl('unknown' as 'cluster1', 'token', program);
    await expect(unknown.run(['get', 'nodes'])).rejects.toThrow(
      /no agent of this cluster is connected/,
    );
    const bad = await plane.kubectl('cluster1', 'not-a-token', program);
    await expect(bad.run(['get', 'nodes'])).rejects.toThrow(/logged in|Unauthorized/i);
    const { server } = plane.api('cluster1');
    const poor = await plane.kubectl('cluster1', await server.token('default', 'default'), program);
    await expect(poor.run(['get', 'nodes'])).rejects.toThrow(/forbidden/i);
  });
});

function configMap(name: string, value: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'default' },
    data: { value },
  });
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
