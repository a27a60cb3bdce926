import { copyFile, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type CertificateFiles,
  makeTestCertificates,
  type TestCertificates,
} from '../../testkit/world/certificates.ts';
import type { Program } from '../../testkit/processes/process.ts';
import { logged, loggedLine, startCulvert, TestTokens } from '../../testkit/world/world.ts';

/** The attacker is a former client that kept its TLS session. */
let directory: string;
let certificates: TestCertificates;
let broker: Program;
let front: number;
let agents: number;
let clientCa: string;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'culvert-expired-client-'));
  certificates = await makeTestCertificates();
  const { server, client } = certificates;
  const tokens = await TestTokens.create(directory);
  clientCa = join(directory, 'client-ca.crt');
  await copyFile(client.ca, clientCa);
  const agentCa = join(directory, 'agent-ca.crt');
  await copyFile(certificates.agent.ca, agentCa);
  broker = startCulvert('broker', [
    ...['--listen', '127.0.0.1:0', '--token-public-key', tokens.publicKeyFile],
    ...['--agent-ca', agentCa, '--tls-cert', server.cert, '--tls-key', server.key],
    ...['--konnectivity-listen', '127.0.0.1:0', '--konnectivity-client-ca', clientCa],
    ...['--konnectivity-tls-cert', server.cert, '--konnectivity-tls-key', server.key],
  ]);
  agents = Number(new URL(await logged(broker, 'broker listens', 'url')).port);
  const { addresses } = await loggedLine(broker, 'konnectivity bridge listens');
  front = Number((addresses as [string])[0].split(':').at(-1));
});
afterAll(async () => {
  await broker?.stop();
  await certificates?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

type Version = 'TLSv1.2' | 'TLSv1.3';

interface Visit {
  /** The server has spoken: on 8090 its HTTP/2 settings, which come only after it has accepted the certificate. */
  readonly isServed: boolean;
  readonly isResumed: boolean;
  readonly session: Buffer | undefined;
}

interface VisitOptions {
  readonly port: number;
  readonly version: Version;
  readonly shown: CertificateFiles;
  readonly session?: Buffer | undefined;
  /** The first bytes to send. */
  readonly hello: string;
  readonly protocol: string;
}

async function visit(options: VisitOptions): Promise<Visit> {
  const { port, version, shown, session, hello, protocol } = options;
  const [ca, cert, key] = await Promise.all(
    [certificates.server.ca, shown.cert, shown.key].map((path) => readFile(path)),
  );
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({
    ...{ host: '127.0.0.1', port, ca, cert, key, ALPNProtocols: [protocol] },
    ...{ minVersion: version, maxVersion: version, ...(session && { session }) },
  });
  let got: Buffer | undefined;
  socket.on('session', (ticket) => (got = ticket));
  let isResumed = false;
  socket.on('secureConnect', () => {
    isResumed = socket.isSessionReused();
    socket.write(hello);
  });
  socket.on('data', () => resolve(true));
  socket.on('error', () => {});
  socket.on('close', () => resolve(false));
  const isServed = await promise;
  socket.destroy();
  return { isServed, isResumed, session: got };
}

const http2Preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0';

describe.each<Version>(['TLSv1.2', 'TLSv1.3'])(
  'A client with an expired certificate over %s',
  (version) => {
    const toFront = { version, hello: http2Preface, protocol: 'h2' };

    it('A TLS session opens no connection after the certificate of its client has expired', async () => {
      const notAfter = new Date(Date.now() + 6_000);
      const shown = await certificates.clientAuthority.issue({
        name: `expires-${version}`,
        usage: 'client',
        notAfter,
      });
      const before = await visit({ ...toFront, port: front, shown });
      expect(before.isServed).toBe(true);
      expect(before.session).toBeDefined();
      // Certificates end on full seconds of the broker's clock.
      const isStillServed = async () => (await visit({ ...toFront, port: front, shown })).isServed;
      await expect.poll(isStillServed, { timeout: 30_000, interval: 250 }).toBe(false);
      const { session } = before;
      const after = await visit({ ...toFront, port: front, shown, session });
      expect(after).toMatchObject({ isServed: false, isResumed: false });
    }, 60_000);

    it('The listener for agents resumes no TLS session', async () => {
      const toAgents = {
        ...{ port: agents, version, shown: certificates.agent, protocol: 'http/1.1' },
        hello: 'GET /healthz HTTP/1.1\r\nHost: broker\r\n\r\n',
      };
      const first = await visit(toAgents);
      expect(first.isServed).toBe(true);
      expect(first.session).toBeDefined();
      const second = await visit({ ...toAgents, session: first.session });
      expect(second).toMatchObject({ isServed: true, isResumed: false });
    });
  },
);

it('A TLS session opens no connection after the CA of its client has been replaced', async () => {
  const toFront = { port: front, hello: http2Preface, protocol: 'h2' } as const;
  const versions = ['TLSv1.2', 'TLSv1.3'] as const;
  const shown = certificates.client;
  const before = await Promise.all(
    versions.map((version) => visit({ ...toFront, version, shown })),
  );
  expect(before.map(({ isServed }) => isServed)).toEqual([true, true]);
  await copyFile(certificates.stranger.ca, `${clientCa}.new`);
  await rename(`${clientCa}.new`, clientCa);
  await loggedLine(broker, 'files reloaded');
  for (const [index, version] of versions.entries()) {
    const session = before[index]?.session;
    expect(session).toBeDefined();
    const after = await visit({ ...toFront, version, shown, session });
    expect(after).toMatchObject({ isServed: false, isResumed: false });
  }
}, 60_000);
