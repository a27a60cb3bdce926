import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startAgent } from '../../src/agent/agent.ts';
import { readAgentOptions } from '../../src/agent/options.ts';
import { type Logger, silentLogger } from '../../src/base/log/logger.ts';
import type { LogFields } from '../../src/base/log/log-field.ts';
import { startBroker } from '../../src/broker/node/broker.ts';
import { readBrokerOptions } from '../../src/cli/broker-options.ts';
import { makeTestCertificates } from '../../testkit/world/certificates.ts';
import { freePort } from '../../testkit/processes/process.ts';

const soon = { timeout: 20_000 };

it('An agent whose CA file has become empty reconnects with the last good version and logs a warning', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'culvert-ca-file-'));
  await using parts = new AsyncDisposableStack();
  parts.defer(() => rm(directory, { recursive: true }));
  const certificates = parts.use(await makeTestCertificates());
  const caFile = join(directory, 'ca.crt');
  await copyFile(certificates.server.ca, caFile);
  const { cert, key } = certificates.server;
  const port = await freePort();
  const serve = () => {
    const flags = ['--listen', `127.0.0.1:${port}`, '--tls-cert', cert, '--tls-key', key];
    return startBroker(readBrokerOptions(flags, {}).options, { log: silentLogger });
  };
  const first = await serve();
  const lines: (LogFields | undefined)[] = [];
  const error = (_: string, fields?: LogFields) => void lines.push(fields);
  const log: Logger = { ...silentLogger, error, child: () => log };
  const flags = ['--broker-url', `wss://127.0.0.1:${port}`, '--cluster', 'c1', '--tunnels', '1'];
  const own = [
    '--ca-file',
    caFile,
    '--kube-apiserver',
    '127.0.0.1',
    '--status-listen',
    '127.0.0.1:0',
  ];
  const agent = parts.use(
    await startAgent(readAgentOptions([...flags, ...own], {}).options, { log }),
  );
  await agent.connected;
  const staleFiles = async () => {
    const answer = await fetch(`http://${agent.statusAddress}/metrics`);
    return /^culvert_agent_files_stale (\d+)$/m.exec(await answer.text())?.[1];
  };
  expect(await staleFiles()).toBe('0');

  await writeFile(caFile, '');
  await first.close();
  await expect.poll(() => agent.tunnelCount, soon).toBe(0);
  parts.use(await serve());
  await expect.poll(() => agent.tunnelCount, soon).toBe(1);
  expect(await staleFiles()).toBe('1');
  const emptyFile = expect.stringContaining('it is empty');
  expect(lines).toMatchObject([{ what: '--ca-file', paths: [caFile], error: emptyFile }]);

  await copyFile(certificates.server.ca, caFile);
  expect(await staleFiles()).toBe('0');
}, 60_000);
