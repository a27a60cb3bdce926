import { copyFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateFiles } from '../../testkit/world/certificates.ts';
import { makeTestCertificates, type TestCertificates } from '../../testkit/world/certificates.ts';
import { dialFailure, isServed, openClient } from '../../testkit/world/front-client.ts';
import type { Program } from '../../testkit/processes/process.ts';
import { startTarget, type TestTarget } from '../../testkit/world/target.ts';
import {
  logged,
  loggedLine,
  startCulvert,
  TestTokens,
  timesLogged,
} from '../../testkit/world/world.ts';

/** Files are checked every 5 s, and the machine may be busy. */
const reloaded = { timeout: 30_000 };
const staleLine = 'changed files are not usable, the last good ones stay';

let directory: string;
let certificates: TestCertificates;
let tokens: TestTokens;
let target: TestTarget;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-stranger-ca-'));
  certificates = await makeTestCertificates();
  tokens = await TestTokens.create(directory);
  target = await startTarget({ mode: 'echo' });
});
afterAll(async () => {
  await target?.close();
  await certificates?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

/** A broker with a front for clients. Its runtime trusts the stranger's CA like a public CA. */
function startBroker(clientCa: string): Program {
  const { server, stranger } = certificates;
  const args = [
    ...['--listen', '127.0.0.1:0', '--token-public-key', tokens.publicKeyFile],
    ...['--tls-cert', server.cert, '--tls-key', server.key],
    ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-client-ca', clientCa],
    ...['--konnectivity-tls-cert', server.cert, '--konnectivity-tls-key', server.key],
    ...['--status-listen', '127.0.0.1:0'],
  ];
  return startCulvert('broker', args, { NODE_EXTRA_CA_CERTS: stranger.ca });
}

/** Replaces a file as a whole, as Kubernetes does. */
async function replace(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

describe('A client CA file that holds no certificate', () => {
  it.each<[string, () => Promise<string>, string]>([
    ['zero bytes', async () => '', 'it is empty'],
    ['a comment', async () => '# the CA comes here\n', 'there is no certificate'],
    ['a key', () => readFile(certificates.client.key, 'utf8'), 'begins a PRIVATE KEY'],
    [
      "a client's own certificate",
      () => readFile(certificates.client.cert, 'utf8'),
      'is not that of a CA',
    ],
    [
      'a certificate that is cut off',
      async () => (await readFile(certificates.client.ca, 'utf8')).slice(0, 200),
      'is cut off',
    ],
  ])(
    'A client CA file without a certificate keeps the broker from starting (%s)',
    async (_, text, reason) => {
      const path = join(directory, 'no-ca.crt');
      await writeFile(path, await text());
      await using broker = startBroker(path);
      expect(await broker.exited).toEqual({ code: 2, signal: null });
      expect(broker.output).toContain(
        `--konnectivity-client-ca=${JSON.stringify(path)} cannot be used: `,
      );
      expect(broker.output).toContain(reason);
    },
  );

  it('A client CA file without a certificate changes nothing in a running broker, which keeps and reports the last good version', async () => {
    const clientCa = join(directory, 'client-ca.crt');
    await copyFile(certificates.client.ca, clientCa);
    const good = await readFile(clientCa, 'utf8');
    await using broker = startBroker(clientCa);
    const url = await logged(broker, 'broker listens', 'url');
    const metricsUrl = `http://${await logged(broker, 'status listens', 'address')}/metrics`;
    const isStale = async () =>
      /^culvert_bridge_tls_files_stale (\d)$/m.exec(await (await fetch(metricsUrl)).text())?.[1];
    const [address] = (await loggedLine(broker, 'konnectivity bridge listens'))['addresses'] as [
      string,
    ];
    const token = await tokens.issue({ kind: 'agent', cluster: 'cluster1' });
    const link = [
      '--broker-url',
      url,
      '--ca-file',
      certificates.server.ca,
      '--cluster',
      'cluster1',
    ];
    const own = ['--token-file', await tokens.file(token), '--kube-apiserver', '127.0.0.1'];
    await using agent = startCulvert('agent', [...link, ...own, '--tunnels', '1']);
    await loggedLine(agent, 'connected to the broker');
    const to = `cluster1:${target.port}`;
    const expectFront = async (): Promise<void> => {
      const open = (client: CertificateFiles) =>
        openClient({ address, tls: { serverCa: certificates.server.ca, client } });
      await using stranger = await open(certificates.stranger);
      expect((await dialFailure(stranger, to)).message).toContain('UNAVAILABLE');
      await using honest = await open(certificates.client);
      expect(await isServed(honest, to)).toBe(true);
    };
    await expectFront();

    for (const [index, nothing] of ['', 'text', good.slice(0, 200)].entries()) {
      await replace(clientCa, nothing);
      await expect.poll(() => timesLogged(broker, staleLine), reloaded).toBe(index + 1);
      expect(await isStale()).toBe('1');
      await expectFront();
    }
    expect(broker.output).toMatch(/"error":"[^"]*it is empty/);

    await replace(clientCa, `# renewed\r\n${good}`);
    await loggedLine(broker, 'files reloaded');
    expect(await isStale()).toBe('0');
    await expectFront();
  }, 120_000);
});

describe('Any other CA file that holds no certificate', () => {
  const common = ['--broker-url', 'wss://127.0.0.1:1', '--token-file'];
  it.each<[string, string, (path: string) => readonly string[]]>([
    ['broker', '--agent-ca', (path) => ['--agent-ca', path]],
    [
      'broker',
      '--redis-ca',
      (path) => ['--token-public-key', tokens.publicKeyFile, '--redis-ca', path],
    ],
    [
      'broker',
      '--replica-ca',
      (path) => ['--token-public-key', tokens.publicKeyFile, '--replica-ca', path],
    ],
    [
      'agent',
      '--ca-file',
      (path) => [...common, tokens.publicKeyFile, '--cluster', 'c1', '--ca-file', path],
    ],
    [
      'bridge',
      '--ca-file',
      (path) => [
        ...common,
        tokens.publicKeyFile,
        '--konnectivity-listen',
        '127.0.0.1:0',
        '--ca-file',
        path,
      ],
    ],
  ])('The program %s does not start with an empty file for %s', async (command, option, args) => {
    const path = join(directory, `${option}.crt`);
    await writeFile(path, '');
    await using program = startCulvert(command, args(path));
    expect(await program.exited).toEqual({ code: 2, signal: null });
    expect(program.output).toContain(
      `${option}=${JSON.stringify(path)} cannot be used: it is empty`,
    );
  });
});
