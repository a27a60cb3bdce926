import { describeError } from '../../base/error.ts';
import { readCaCertificates } from '../../base/tls/ca-certificates.ts';
import { Informer } from '../../kube/controllers/informer.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { fields, present, text } from '../api/fields.ts';
import { userServer } from '../api/names.ts';
import type { ControllerContext } from '../runtime/controller-context.ts';

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
  #followed: { readonly namespace: string; readonly informer: Informer } | undefined;
  #ca: string | undefined;
  #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: ServingCertificateOptions) {
    this.#options = options;
  }

  /** PEM, by which clients trust the user-server. Undefined: not known, or not known yet. */
  get ca(): string | undefined {
    return this.#ca;
  }

  /** Follows the Secret in `namespace` instead of the one before. */
  follow(namespace: string): void {
    if (this.#followed?.namespace === namespace) return;
    this.#stop.abort();
    this.#ca = undefined;
    const { api, clock, log, onChange } = this.#options;
    const collection = { apiVersion: 'v1', kind: 'Secret', namespace };
    const fieldSelector = `metadata.name=${userServer.secret}`;
    const informer = new Informer({ api, clock, log, collection, fieldSelector, keep: withoutKey });
    informer.onChange(({ now }) => {
      this.#ca = now && this.#caIn(now);
      onChange();
    });
    this.#followed = { namespace, informer };
    this.#stop = new AbortController();
    this.#running = Promise.all([this.#running, informer.run(this.#stop.signal)]);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#followed = undefined;
    await this.#running;
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
