import { describeError } from '../../base/error.ts';
import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields, present, text } from '../api/fields.ts';
import { userServer } from '../api/names.ts';
import type { ControllerContext } from '../runtime/controller-context.ts';
import { NamespaceCache } from '../runtime/namespace-cache.ts';

export interface ServingCertificateOptions extends Pick<
  ControllerContext,
  'api' | 'clock' | 'log'
> {
  /** Called when the certificate may have changed. */
  readonly onChange: () => void;
}

/** Follows the Secret with the certificate of the user-server. */
export class ServingCertificate {
  readonly #options: ServingCertificateOptions;
  readonly #secrets: NamespaceCache;
  #read: { readonly secret: KubeObject | undefined; readonly ca: string | undefined } | undefined;

  constructor(options: ServingCertificateOptions) {
    this.#options = options;
    this.#secrets = new NamespaceCache({ ...options, collectionsOf });
  }

  /** PEM, by which clients trust the user-server. Undefined: not known, or not known yet. */
  get ca(): string | undefined {
    const [secret] = this.#secrets.objects;
    // A Secret is read once, so that a problem with it is logged once.
    if (this.#read?.secret !== secret) this.#read = { secret, ca: secret && this.#caIn(secret) };
    return this.#read?.ca;
  }

  /** Follows the Secret in `namespace` instead of the one before. */
  follow(namespace: string): void {
    this.#secrets.follow(namespace);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await this.#secrets.close();
  }

  #caIn(secret: KubeObject): string | undefined {
    try {
      return caIn(secret);
    } catch (thrown) {
      const { log } = this.#options;
      log.warn('certificate of the user-server cannot be used', { error: describeError(thrown) });
      return undefined;
    }
  }
}

const collectionsOf = (namespace: string) => [
  {
    collection: { apiVersion: 'v1', kind: 'Secret', namespace },
    fieldSelector: `metadata.name=${userServer.secret}`,
    keep: withoutKey,
  },
];

/** Keeps the public half. */
function withoutKey(secret: KubeObject): KubeObject {
  const { apiVersion, kind, metadata } = secret;
  const data = fields(secret['data']);
  const certificates = { 'ca.crt': data['ca.crt'], 'tls.crt': data['tls.crt'] };
  return { apiVersion, kind, metadata, data: present(certificates) };
}

/**
 * The CA of the certificate. cert-manager writes it to `ca.crt`. In a Secret without it, `tls.crt`
 * is the certificate with its chain, as with Cluster Proxy.
 */
function caIn(secret: KubeObject): string | undefined {
  const data = fields(secret['data']);
  const encoded = text(data['ca.crt']) || text(data['tls.crt']);
  if (encoded === '') return undefined;
  return readCaCertificates(Buffer.from(encoded, 'base64').toString('utf8'), 'servers');
}
