import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { connect, createServer } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { defaultTlsPolicy } from '../../../src/base/tls/tls-policy.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';

describe('defaultTlsPolicy', () => {
  it('A server prefers AES-128 to the order of its client', async () => {
    await using certificates = await makeTestCertificates();
    const { cert, key, ca } = certificates.server;
    const read = (path: string) => readFile(path, 'utf8');
    const server = createServer({
      cert: await read(cert),
      key: await read(key),
      ...defaultTlsPolicy,
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect({
      host: '127.0.0.1',
      port: (server.address() as AddressInfo).port,
      servername: 'localhost',
      ca: await read(ca),
      ciphers: 'TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256',
    });
    await once(client, 'secureConnect');
    expect(client.getCipher().name).toBe('TLS_AES_128_GCM_SHA256');
    client.destroy();
    server.close();
  });
});
