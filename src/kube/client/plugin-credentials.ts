import type { RequestOptions } from 'node:https';
import { dirname, resolve } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { Secret } from '../../base/secret.ts';
import type { KubeEndpoint } from './kube-endpoint.ts';

/** Runs the exec plugin or auth provider of a kubeconfig's user; it keeps what it got until that expires. */
export class PluginCredentials {
  readonly text: string;
  readonly #config = new KubeConfig();

  /** @param text what is in the file at `path` */
  constructor(path: string, text: string) {
    this.text = text;
    this.#config.loadFromFile(path);
    for (const { exec } of this.#config.users as { exec?: { command?: unknown } | null }[]) {
      // As in client-go, a command with a slash is a path, relative to the kubeconfig; others are looked up in PATH.
      if (typeof exec?.command !== 'string' || !exec.command.includes('/')) continue;
      exec.command = resolve(dirname(path), exec.command);
    }
  }

  /** @throws Error with what the plugin said */
  async get(): Promise<Pick<KubeEndpoint, 'certificate' | 'token'>> {
    const given: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(given);
    return { certificate: certificateOf(given), token: tokenOf(given) };
  }
}

function certificateOf({ cert, key }: RequestOptions): KubeEndpoint['certificate'] {
  if (!cert || !key) return undefined;
  const text = (pem: unknown) => (pem as string | Buffer).toString();
  return { cert: text(cert), key: new Secret(text(key)) };
}

function tokenOf({ headers }: RequestOptions): Secret | undefined {
  const header = (headers as Record<string, unknown> | undefined)?.['Authorization'];
  const token = /^Bearer (.+)$/.exec(String(header))?.[1];
  return token === undefined ? undefined : new Secret(token);
}
