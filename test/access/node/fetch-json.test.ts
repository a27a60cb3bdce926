import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fetchJsonWith } from '../../../src/access/node/fetch-json.ts';
import { maxIssuerAnswerBytes } from '../../../src/access/oidc-authenticator.ts';
import { makeTestCertificates } from '../../../testkit/world/certificates.ts';

describe('A document of an OIDC issuer', () => {
  let certificates: Awaited<ReturnType<typeof makeTestCertificates>>;
  let server: Server;
  let answer: RequestListener;
  beforeAll(async () => {
    certificates = await makeTestCertificates();
    const { key, cert } = certificates.server;
    server = createServer(
      { key: await readFile(key), cert: await readFile(cert) },
      (request, response) => answer(request, response),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(async () => {
    server?.closeAllConnections();
    server?.close();
    await certificates?.[Symbol.asyncDispose]();
  });

  async function fetchIt(): Promise<unknown> {
    const { port } = server.address() as AddressInfo;
    const fetchJson = fetchJsonWith(await readFile(certificates.server.ca, 'utf8'));
    return await fetchJson(new URL(`https://127.0.0.1:${port}/`), new AbortController().signal);
  }

  it('A document of an OIDC issuer may have 1 MiB', async () => {
    const text = JSON.stringify({ a: 1 });
    answer = (_, response) =>
      void response.end(' '.repeat(maxIssuerAnswerBytes - text.length) + text);
    expect(await fetchIt()).toEqual({ a: 1 });
  });

  it('A document of an OIDC issuer that is longer is refused, and its connection is closed', async () => {
    const closed = Promise.withResolvers<void>();
    answer = (request, response) => {
      request.socket.once('close', () => closed.resolve());
      response.end(`${' '.repeat(maxIssuerAnswerBytes - 1)}{}`);
    };
    await expect(fetchIt()).rejects.toThrow('is too large');
    await closed.promise;
  });
});
