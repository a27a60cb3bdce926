import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

/** An OIDC provider on loopback: discovery, keys, and tokens that are signed with RS256. */
export interface OidcProvider extends AsyncDisposable {
  readonly issuerUrl: string;
  /** A token for one hour; `aud` is the client ID. */
  token(claims: { readonly aud: string; readonly [name: string]: unknown }): Promise<string>;
}

/** @param files the certificate of its server, for localhost */
export async function startOidcProvider(files: {
  readonly cert: string;
  readonly key: string;
}): Promise<OidcProvider> {
  const { privateKey, publicKey } = await generateKeyPair('RS256');
  const keys = [{ ...(await exportJWK(publicKey)), kid: '1' }];
  const tls = { cert: await readFile(files.cert), key: await readFile(files.key) };
  const server = createServer(tls, ({ url }, answer) => {
    const document = { issuer: issuerUrl, jwks_uri: `${issuerUrl}/keys` };
    answer.end(JSON.stringify(url === '/keys' ? { keys } : document));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const issuerUrl = `https://localhost:${(server.address() as AddressInfo).port}`;
  return {
    issuerUrl,
    token: (claims) =>
      new SignJWT({ iss: issuerUrl, ...claims })
        .setProtectedHeader({ alg: 'RS256', kid: '1' })
        .setExpirationTime('1h')
        .sign(privateKey),
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}
