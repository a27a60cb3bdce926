import { hubNames } from '../../../src/addon/rotation/leaf-plan.ts';
import {
  type CertificatesPlan,
  type CertificatesSpec,
  type ObservedCertificates,
  planCertificates,
} from '../../../src/addon/rotation/plan-certificates.ts';
import { annotations, textIn } from '../../../src/addon/rotation/secret.ts';
import { type Certificate, parseCertificates } from '../../../src/base/x509/index.ts';
import type { KubeObject } from '../../../src/kube/client/kube-object.ts';

export const start = new Date('2027-01-01T00:00:00Z');
export const namesOf = (additional: readonly string[] = []) =>
  hubNames([
    ...additional,
    '127.0.0.1',
    'localhost',
    'proxy-entrypoint.hub',
    'proxy-entrypoint.hub.svc',
  ]);
export const minuteMs = 60_000;

/** Secrets as an API server stores them, and a clock. Plans are applied to the Secrets. */
export class Hub {
  now = start;
  spec: Partial<CertificatesSpec> = {};
  readonly secrets = new Map<string, KubeObject>();

  get observed(): ObservedCertificates {
    const { secrets } = this;
    return {
      signer: secrets.get('cluster-proxy-signer'),
      agentSigner: secrets.get('cluster-proxy-agent-signer'),
      serverCa: secrets.get('proxy-server-ca'),
      agentCa: secrets.get('agent-ca'),
      proxyServer: secrets.get('proxy-server'),
      agentServer: secrets.get('agent-server'),
      proxyClient: secrets.get('proxy-client'),
    };
  }

  plan(): Promise<CertificatesPlan> {
    const { now } = this;
    const where = { signerNamespace: 'signers', hubNamespace: 'hub' };
    return planCertificates(this.observed, { now, ...where, names: namesOf(), ...this.spec });
  }

  /**
   * Applies plans until there is nothing to change, as a controller does. With `count`, it stops
   * after `count` Secrets of the first plan, as if it were killed.
   */
  async reconcile(count = Infinity): Promise<CertificatesPlan> {
    const plan = await this.plan();
    for (let at = plan; ; at = await this.plan()) {
      const before = JSON.stringify([...this.secrets]);
      for (const secret of at.secrets.slice(0, count)) this.apply(secret);
      if (count !== Infinity || JSON.stringify([...this.secrets]) === before) return plan;
    }
  }

  apply(secret: KubeObject): void {
    // A person's annotations have another owner and are kept.
    const before = this.secrets.get(secret.metadata.name)?.metadata.annotations ?? {};
    const kept = annotations.rotateCa in before && {
      [annotations.rotateCa]: before[annotations.rotateCa]!,
    };
    const metadata = {
      ...secret.metadata,
      annotations: { ...secret.metadata.annotations, ...kept },
    };
    this.secrets.set(secret.metadata.name, { ...secret, metadata });
  }

  pass(ms: number): void {
    this.now = new Date(this.now.getTime() + ms);
  }

  annotate(name: string, annotation: string, value: string): void {
    const secret = this.secrets.get(name)!;
    const metadata = { ...secret.metadata, annotations: { [annotation]: value } };
    this.secrets.set(name, {
      ...secret,
      metadata: {
        ...metadata,
        annotations: { ...secret.metadata.annotations, ...metadata.annotations },
      },
    });
  }

  replaceText(name: string, key: string, text: string): void {
    const secret = this.secrets.get(name)!;
    const data = secret['data'] as Record<string, string>;
    this.secrets.set(name, {
      ...secret,
      data: { ...data, [key]: Buffer.from(text).toString('base64') },
    });
  }

  text(name: string, key: string): string {
    return textIn(this.secrets.get(name), key) ?? '';
  }

  leaf(name: string): Certificate {
    return parseCertificates(this.text(name, 'tls.crt'))[0]!;
  }

  bundle(name = 'proxy-server-ca'): readonly Certificate[] {
    return parseCertificates(this.text(name, 'ca.crt'));
  }
}

const installed = new Hub();
await installed.reconcile();

/** A hub after the installation. */
export async function freshHub(): Promise<Hub> {
  const hub = new Hub();
  for (const [name, secret] of installed.secrets) hub.secrets.set(name, structuredClone(secret));
  return hub;
}

export async function isTrusted(
  leaf: Certificate,
  bundle: readonly Certificate[],
): Promise<boolean> {
  const found = await Promise.all(bundle.map((authority) => leaf.isIssuedBy(authority)));
  return found.includes(true);
}

export const leafNames = ['proxy-server', 'agent-server', 'proxy-client'] as const;
