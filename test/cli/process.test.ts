import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { generateTokenKeyPair } from '../../src/base/tokens/enrolment-token.ts';
import { KonnectivityClient } from '../../src/konnectivity-client/konnectivity-client.ts';
import { runProgram, startProgram } from '../../testkit/processes/process.ts';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'culvert-process-'));
afterAll(() => rmSync(folder, { recursive: true }));

// The programs must see only the variables of these tests.
const cleanEnv = Object.fromEntries(
  Object.keys(process.env)
    .filter((name) => name.startsWith('CULVERT_'))
    .map((name) => [name, undefined]),
);

const culvert = (...args: string[]) => ({
  name: `culvert ${args[0]}`,
  command: process.execPath,
  args: [main, ...args],
  env: cleanEnv,
});

const devFlags = ['listen', 'konnectivity-listen', 'gateway-listen'].map(
  (name) => `--${name}=127.0.0.1:0`,
);
const url = /(ws:\/\/127\.0\.0\.1:\d+)/;
const front = /konnectivity\s+(127\.0\.0\.1:\d+)/;

describe('the demo', () => {
  it('The demo verifies its own output and exits 0', async () => {
    const demo = fileURLToPath(new URL('../../demo/main.ts', import.meta.url));
    const args = [demo, '--check'];
    const { code, output } = await runProgram({ command: process.execPath, args, env: cleanEnv });
    expect(output).toContain('- a request through the front door is answered by the service');
    expect(code).toBe(0);
  });
});

describe('processes of culvert', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('culvert dev exits 0 on %s', async (signal) => {
    await using dev = startProgram(culvert('dev', ...devFlags));
    await dev.waitForLine(/Ctrl-C ends it/);
    dev.kill(signal);
    expect(await dev.exited).toEqual({ code: 0, signal: null });
  });

  it('culvert dev serves a konnectivity client', async () => {
    await using dev = startProgram(culvert('dev', ...devFlags, '--cluster', '1st'));
    const address = (await dev.waitForLine(front))[1]!;
    await using client = new KonnectivityClient({ address });
    const connection = await client.dial('1st:80');
    connection.write('GET / HTTP/1.0\r\n\r\n');
    let answer = '';
    for await (const piece of connection) answer += String(piece);
    expect(answer).toContain('Hello from the other side of the culvert.');
  });

  it('culvert dev prints the URL of its gateway, and HTTP clients reach the sample service there', async () => {
    await using dev = startProgram(culvert('dev', ...devFlags, '--cluster', '1st'));
    const [, url] = await dev.waitForLine(/kubectl --server=(\S+) get --raw \/$/);
    const answer = await fetch(`${url}/`);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain('Hello from the other side of the culvert.');
  });

  it('culvert dev lets open streams end within the drain timeout, and exits at once on a second signal', async () => {
    await using dev = startProgram(
      culvert('dev', ...devFlags, '--drain-timeout=1h', '--log-level=info'),
    );
    const address = (await dev.waitForLine(front))[1]!;
    await using client = new KonnectivityClient({ address });
    const connection = await client.dial('dev:80');
    connection.on('error', () => {});
    await dev.waitForLine(/Ctrl-C ends it/);
    dev.kill('SIGTERM');
    await dev.waitForLine(/"event":"draining"/);
    // The stream is still open, because it carries a request and its answer.
    connection.write('GET / HTTP/1.1\r\nHost: dev\r\n\r\n');
    const [piece] = (await once(connection, 'data')) as [Buffer];
    expect(piece.toString()).toContain('200 OK');
    dev.kill('SIGTERM');
    expect(await dev.exited).toEqual({ code: 1, signal: null });
  });

  it('culvert dev resets streams that outlast the drain timeout, and exits 0', async () => {
    await using dev = startProgram(culvert('dev', ...devFlags, '--drain-timeout=1ms'));
    const address = (await dev.waitForLine(front))[1]!;
    await using client = new KonnectivityClient({ address });
    const connection = await client.dial('dev:80');
    connection.on('error', () => {}).resume();
    await dev.waitForLine(/Ctrl-C ends it/);
    dev.kill('SIGTERM');
    expect(await dev.exited).toEqual({ code: 0, signal: null });
  });

  it('Broker, bridge and agent connect to each other with tokens, and each drains on SIGTERM', async () => {
    const key = join(folder, 'signing.key');
    expect((await runProgram(culvert('token', 'keygen', '--key', key))).code).toBe(0);
    const tokenOf = async (...args: string[]) => {
      const { stdout, code } = await runProgram(culvert('token', ...args, '--key', key));
      expect(code).toBe(0);
      const file = join(folder, args.join('-'));
      writeFileSync(file, stdout);
      return file;
    };
    const agentToken = await tokenOf('agent', '--cluster', 'c1');
    const dialerToken = await tokenOf('dialer', '--name', 'bridge-1');

    const listen = ['--listen=127.0.0.1:0', `--token-public-key=${key}.pub`];
    await using broker = startProgram(culvert('broker', ...listen));
    const brokerUrl = (await broker.waitForLine(url))[1]!;
    const target = createServer((socket) => socket.end('hello')).listen(0, '127.0.0.1');
    await once(target, 'listening');
    const { port } = target.address() as AddressInfo;
    await using agent = startProgram(
      culvert(
        'agent',
        `--broker-url=${brokerUrl}`,
        '--cluster=c1',
        `--token-file=${agentToken}`,
        `--kube-apiserver=127.0.0.1:${port}`,
      ),
    );
    await using bridge = startProgram(
      culvert(
        'bridge',
        `--broker-url=${brokerUrl}`,
        `--token-file=${dialerToken}`,
        '--konnectivity-listen=127.0.0.1:0',
      ),
    );
    await agent.waitForLine(/connected to the broker/);
    const address = (await bridge.waitForLine(/"addresses":\["([^"]+)"/))[1]!;
    await using client = new KonnectivityClient({ address });
    let answer = '';
    for await (const piece of await client.dial('c1:443')) answer += String(piece);
    expect(answer).toBe('hello');
    target.close();

    for (const program of [bridge, agent, broker]) {
      program.kill('SIGTERM');
      expect(await program.exited).toEqual({ code: 0, signal: null });
    }
    const token = /eyJ[\w-]+\./;
    expect(broker.output + agent.output + bridge.output).not.toMatch(token);
  });

  it('A culvert process that cannot start reports the reason and exits 1', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const { code, output } = await runProgram(culvert('broker', `--listen=127.0.0.1:${port}`));
    taken.close();
    expect(code).toBe(1);
    expect(output).toMatch(
      new RegExp(`culvert broker: .*127\\.0\\.0\\.1:${port} is in use already`),
    );
  });

  it('A culvert process reports the problem with a key file without showing its contents', async () => {
    const file = join(folder, 'wrong.pub');
    writeFileSync(file, (await generateTokenKeyPair()).privateKeyPem.reveal());
    const flags = ['--listen=127.0.0.1:0', `--token-public-key=${file}`];
    const { code, output } = await runProgram(culvert('broker', ...flags));
    expect(code).toBe(1);
    expect(output).toContain('a public key is needed, this is the private one of a pair');
    expect(output).not.toContain('BEGIN PRIVATE KEY');
  });
});

describe('the output of a command', () => {
  const nodeArgs = [main, 'broker', '--help'];

  it('A reader that has gone gets no stack trace, and the exit code is 1', async () => {
    const child = spawn(process.execPath, nodeArgs, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let complaint = '';
    child.stderr.on('data', (bytes: Buffer) => (complaint += String(bytes)));
    const [code] = (await once(child, 'close')) as [number];
    expect(complaint).toBe('');
    expect(code).toBe(1);
  });

  it.skipIf(!existsSync('/dev/full'))(
    'A full disk is reported, and the exit code is 1',
    async () => {
      const full = openSync('/dev/full', 'w');
      const child = spawn(process.execPath, nodeArgs, { stdio: ['ignore', full, 'pipe'] });
      closeSync(full);
      let complaint = '';
      child.stderr!.on('data', (bytes: Buffer) => (complaint += String(bytes)));
      const [code] = (await once(child, 'close')) as [number];
      expect(complaint).toMatch(/^culvert: the output cannot be written: ENOSPC.*\n$/);
      expect(code).toBe(1);
    },
  );
});

/** Root needs no namespace of users, which some systems forbid. */
const asFirst = [process.getuid?.() === 0 ? '-pf' : '-Urpf', '--kill-child'];
const hasNamespaces = spawnSync('unshare', [...asFirst, 'true']).status === 0;

describe('the first process of a container', () => {
  it.runIf(hasNamespaces)('SIGTERM ends a command that has nothing to drain', async () => {
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const hub = join(folder, 'hub.kubeconfig');
    const named = (key: string, fields: object) => [{ name: 'hub', [key]: fields }];
    const lists = {
      clusters: named('cluster', { server: `http://127.0.0.1:${port}` }),
      users: named('user', {}),
      contexts: named('context', { cluster: 'hub', user: 'hub' }),
    };
    writeFileSync(hub, JSON.stringify({ ...lists, 'current-context': 'hub' }));
    const flags = ['--url=https://gateway', '--exec-arg=--managed-serviceaccount=r'];
    const command = [main, 'kubeconfig', ...flags, `--hub-kubeconfig=${hub}`, '--stdout'];
    const outer = spawn('unshare', [...asFirst, process.execPath, ...command], { stdio: 'ignore' });
    onTestFinished(() => void outer.kill('SIGKILL'));
    const ended = once(outer, 'close');
    await once(silent, 'connection');
    const children = readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, 'utf8');
    process.kill(Number(children), 'SIGTERM');
    expect(await ended).toEqual([143, null]);
    silent.close();
  });
});
