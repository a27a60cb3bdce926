import { readFile, writeFile } from 'node:fs/promises';
import type { KeyPairFiles } from './cluster-pki.ts';

export type Credentials = KeyPairFiles | { readonly token: string };

export interface KubeconfigOptions {
  readonly url: string;
  /** Path of the PEM file with the CA of the server. */
  readonly caFile: string;
  readonly credentials: Credentials;
  readonly namespace?: string;
  /** The URL of an HTTP proxy, with user and password. */
  readonly proxyUrl?: string;
}

/** Writes a kubeconfig that refers to no other file, and returns its path. */
export async function writeKubeconfig(path: string, options: KubeconfigOptions): Promise<string> {
  const { url, caFile, credentials, namespace, proxyUrl } = options;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'ground',
    clusters: [
      {
        name: 'ground',
        cluster: {
          server: url,
          'certificate-authority-data': await base64Of(caFile),
          ...(proxyUrl === undefined ? {} : { 'proxy-url': proxyUrl }),
        },
      },
    ],
    users: [{ name: 'user', user: await userOf(credentials) }],
    contexts: [
      {
        name: 'ground',
        context: {
          cluster: 'ground',
          user: 'user',
          ...(namespace === undefined ? {} : { namespace }),
        },
      },
    ],
  };
  await writeFile(path, JSON.stringify(config, null, 2), { mode: 0o600 });
  return path;
}

async function userOf(credentials: Credentials) {
  if ('token' in credentials) return { token: credentials.token };
  return {
    'client-certificate-data': await base64Of(credentials.cert),
    'client-key-data': await base64Of(credentials.key),
  };
}

async function base64Of(path: string): Promise<string> {
  return (await readFile(path)).toString('base64');
}
