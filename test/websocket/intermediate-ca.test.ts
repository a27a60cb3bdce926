import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectWebSocket } from '../../src/websocket/connect.ts';
import { certificates, listen, type Listening } from './servers.ts';

/** A broker with a certificate of an intermediate CA. It sends only that certificate. */
let broker: Listening<ReturnType<typeof createServer>>;
let intermediateCa: string;
let leaf: string;

beforeAll(async () => {
  const intermediate = await certificates.serverAuthority.createIntermediate('broker-ca');
  const files = await intermediate.issue({ name: 'broker', usage: 'server' });
  intermediateCa = await readFile(files.ca, 'utf8');
  leaf = await readFile(files.cert, 'utf8');
  const refuse = createServer({ cert: leaf, key: await readFile(files.key) }, (_, answer) => {
    answer.writeHead(404).end();
  });
  broker = await listen(refuse);
});
afterAll(() => broker?.[Symbol.asyncDispose]());

/** `--ca-file` adds to the well-known CAs; the CA in a hub kubeconfig is the only one. */
describe.each(['with-well-known', 'ca-only'] as const)('A CA that is trusted %s', (trust) => {
  const connect = (ca: string) =>
    connectWebSocket({
      url: new URL(`wss://127.0.0.1:${broker.port}/v1/agent`),
      ca,
      trust,
      signal: AbortSignal.timeout(10_000),
    });

  it('The trusted CA may be the intermediate that issued the certificate of the broker', async () => {
    await expect(connect(intermediateCa)).rejects.toMatchObject({ code: 'rejected', status: 404 });
  });

  it('The trusted CA may be the certificate of the broker itself', async () => {
    await expect(connect(leaf)).rejects.toMatchObject({ code: 'rejected', status: 404 });
  });

  it('An intermediate CA is not trusted for certificates that it has not issued', async () => {
    const other = await readFile(certificates.stranger.ca, 'utf8');
    await expect(connect(other)).rejects.toMatchObject({ code: 'tls' });
  });

  it.each(['', 'text'])('A CA file without a certificate is refused (%j)', async (nothing) => {
    await expect(connect(nothing)).rejects.toThrow('a CA file holds one or more certificates');
  });
});
