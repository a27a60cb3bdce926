import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectTls, trustOf } from '../../../src/base/net/connect-tls.ts';
import {
  makeTestCertificates,
  type TestCertificates,
} from '../../../testkit/world/certificates.ts';

let certificates: TestCertificates;
beforeAll(async () => void (certificates = await makeTestCertificates()));
afterAll(() => certificates[Symbol.asyncDispose]());

describe('connectTls', () => {
  it('The name of a server is sent and checked without the final dot of an absolute name', async () => {
    const [ca, cert, key] = (['ca', 'cert', 'key'] as const).map((part) =>
      readFileSync(certificates.server[part], 'utf8'),
    );
    const names: string[] = [];
    const SNICallback = (name: string, done: (error: null) => void) => {
      names.push(name);
      done(null);
    };
    const server = createServer({ cert, key, SNICallback }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
    const opened: Socket[] = [];
    const attempt = { opened, progress: { step: '' }, signal: new AbortController().signal };
    const under = connect((server.address() as AddressInfo).port, '127.0.0.1');
    const peer = { serverName: 'localhost.', what: 'a server', isProxy: false, isPinned: false };
    const client = await connectTls(under, peer, trustOf([ca]), attempt);
    const [socket] = await accepted;
    expect(names).toEqual(['localhost']);
    client.destroy();
    socket.destroy();
    server.close();
    await once(server, 'close');
  });
});
