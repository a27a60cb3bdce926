import { get } from 'node:https';
import { trustServersOf } from '../../base/tls/tls-trust.ts';
import { type FetchJson, maxIssuerAnswerBytes } from '../oidc-authenticator.ts';

/**
 * GETs JSON over TLS 1.2 or later. It follows no redirects.
 *
 * @param ca PEM of the only CAs to trust; undefined: the well-known CAs
 * @throws X509Error `ca` is not usable
 */
export function fetchJsonWith(ca: string | undefined): FetchJson {
  const trust = ca === undefined ? {} : trustServersOf([ca], 'nothing');
  return async (url, signal) => {
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const options = { ...trust, minVersion: 'TLSv1.2', agent: false, signal } as const;
    const request = get(url, options, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      if (response.statusCode !== 200) {
        request.destroy(new Error(`${url.host} answered with status ${response.statusCode}`));
        return;
      }
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes > maxIssuerAnswerBytes) {
          request.destroy(new Error(`the answer of ${url.host} is too large`));
        }
      });
      response.on('error', reject);
      response.on('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(chunks).toString('utf8')));
        } catch {
          reject(new Error(`the answer of ${url.host} is not JSON`));
        }
      });
    });
    request.on('error', reject);
    return await promise;
  };
}
