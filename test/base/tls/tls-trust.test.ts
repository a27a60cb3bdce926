import { once } from 'node:events';
import { glob, readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { trustClientsOf, trustServersOf } from '../../../src/base/tls/tls-trust.ts';
import {
  type CertificateFiles,
  makeTestCertificates,
  type TestCertificates,
} from '../../../testkit/world/certificates.ts';

let certificates: TestCertificates;
/** Certificates that intermediate CAs have issued. `ca` is the intermediate CA alone. */
let server: CertificateFiles;
let client: CertificateFiles;
/** A certificate of another intermediate CA below the same root. */
let otherClient: CertificateFiles;

beforeAll(async () => {
  certificates = await makeTestCertificates();
  const { serverAuthority, clientAuthority } = certificates;
  const servers = await serverAuthority.createIntermediate('server-intermediate');
  server = await servers.issue({ name: 'below', usage: 'server' });
  const clients = await clientAuthority.createIntermediate('client-intermediate');
  client = await clients.issue({ name: 'client-below', usage: 'client' });
  const others = await clientAuthority.createIntermediate('other-intermediate');
  otherClient = await others.issue({ name: 'other-below', usage: 'client' });
});
afterAll(() => certificates[Symbol.asyncDispose]());

const text = (path: string) => readFile(path, 'utf8');

type Version = 'TLSv1.2' | 'TLSv1.3';
const versions: readonly Version[] = ['TLSv1.2', 'TLSv1.3'];

interface Attempt {
  /** Paths of files whose contents the server and the client trust. */
  readonly clientCa: string;
  readonly serverCa: string;
  readonly shown: CertificateFiles;
  readonly version: Version;
}

/**
 * Connects twice, the second time with the session of the first connection. Returns the verdict of
 * the server on each.
 */
async function connectTwice({ clientCa, serverCa, shown, version }: Attempt) {
  const [cert, key] = await Promise.all([text(server.cert), text(server.key)]);
  const trust = trustClientsOf(await text(clientCa));
  const options = { cert, key, requestCert: true, rejectUnauthorized: true, ...trust };
  const listener = createServer(options, (socket) => {
    socket.on('error', () => {});
    socket.write(socket.isSessionReused() ? 'resumed' : 'verified');
  });
  // Credentials that replace others while the server runs must work like the first ones.
  listener.setSecureContext({ cert, key, ...trust });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  const own = { cert: await text(shown.cert), key: await text(shown.key) };
  const trusted = trustServersOf([await text(serverCa)], 'nothing');
  let session: Buffer | undefined;
  const once1 = async (): Promise<string> => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const socket: TLSSocket = connect({
      ...{ port, host: '127.0.0.1', ...trusted, ...own },
      ...{ minVersion: version, maxVersion: version },
      ...(session && { session }),
    });
    socket.on('session', (ticket) => (session = ticket));
    socket.on('data', (data) => resolve(data.toString()));
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    socket.on('close', () => resolve('closed'));
    const verdict = await promise;
    socket.destroy();
    return verdict;
  };
  const verdicts = [await once1(), await once1()];
  listener.close();
  return { verdicts, hadSession: session !== undefined };
}

describe.each(versions)('TLS trust with %s', (version) => {
  it('A client trusts a server through its intermediate CA alone, and the server trusts the client in the same way', async () => {
    const attempt = { clientCa: client.ca, serverCa: server.ca, shown: client, version };
    expect((await connectTwice(attempt)).verdicts).toEqual(['verified', 'verified']);
  });

  it('A server does not resume a session, although the client has one', async () => {
    const attempt = { clientCa: client.ca, serverCa: server.ca, shown: client, version };
    expect(await connectTwice(attempt)).toMatchObject({
      hadSession: true,
      verdicts: ['verified', 'verified'],
    });
  });

  it('A client trusts a server whose own certificate it was given', async () => {
    const attempt = { clientCa: client.ca, serverCa: server.cert, shown: client, version };
    expect((await connectTwice(attempt)).verdicts).toEqual(['verified', 'verified']);
  });

  it('A server refuses a client of another intermediate CA below the same root', async () => {
    const attempt = { clientCa: client.ca, serverCa: server.ca, shown: otherClient, version };
    for (const verdict of (await connectTwice(attempt)).verdicts)
      expect(verdict).toMatch(/closed|ECONNRESET|ALERT/);
  });

  it('A client refuses a server of another CA', async () => {
    const attempt = { clientCa: client.ca, serverCa: client.ca, shown: client, version };
    for (const verdict of (await connectTwice(attempt)).verdicts)
      expect(verdict).toMatch(/UNABLE_TO/);
  });
});

describe('TLS trust without certificates', () => {
  it.each(['', '\n', 'text'])(
    'A trust text without a certificate is refused before node:tls sees it (%j)',
    async (nothing) => {
      const good = await text(client.ca);
      expect(() => trustClientsOf(nothing)).toThrow('a CA file holds one or more certificates');
      for (const besides of ['nothing', 'well-known'] as const) {
        expect(() => trustServersOf([nothing], besides)).toThrow('a CA file holds');
        expect(() => trustServersOf([good, nothing], besides)).toThrow('a CA file holds');
      }
    },
  );
});

it('tls-trust.ts is the only file that makes trust settings for TLS', async () => {
  const modules = /import (?!type)([^;]*?) from 'node:(?:tls|https|http2)'/g;
  const makers =
    /(?<!type )\b(?:connect|createSecureContext|createServer|createSecureServer|request|Agent)\b/;
  const others = /\b(?:createSsl\(|getCACertificates|setDefaultCACertificates|rootCertificates)/;
  const found: string[] = [];
  for await (const path of glob('src/**/*.ts')) {
    if (path === 'src/base/tls/tls-trust.ts') continue;
    const source = await readFile(path, 'utf8');
    const makes = [...source.matchAll(modules)].some(([, names]) => makers.test(names!));
    if ((makes && !source.includes('/tls-trust.ts')) || others.test(source)) found.push(path);
  }
  // These files receive trust options that other files made with tls-trust.ts, or a connection whose
  // server was verified. The server of the sample asks for no certificate.
  expect(found.sort()).toEqual([
    'src/agent/http/http2-connection.ts',
    'src/base/server/http-listener.ts',
    'src/broker/redis/redis-client.ts',
    'src/cli/sample-target.ts',
    'src/gateway/node/gateway-server.ts',
    'src/kube/client/dialing-agents.ts',
  ]);
});
