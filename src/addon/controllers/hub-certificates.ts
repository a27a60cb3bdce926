import type { KubeApi } from '../../kube/kube-api.ts';
import type { KubeObject } from '../../kube/kube-object.ts';
import { find } from '../../kube/kube-ref.ts';
import type { ManagedProxyConfiguration } from '../api/managed-proxy-configuration.ts';
import { hubNames } from '../certificates/hub-names.ts';
import { leafIn } from '../certificates/leaf-plan.ts';
import {
  type CertificatesPlan,
  defaultSecretNames,
  type ObservedCertificates,
  planCertificates,
  type SecretNames,
} from '../certificates/plan-certificates.ts';
import { textIn } from '../certificates/secret.ts';
import { hubMeta } from '../hub/hub-object.ts';
import type { CertificateExpiries } from '../hub/hub-status.ts';
import type { Applier } from './applier.ts';
import type { Failures } from './failures.ts';

export interface HubCertificatesOptions {
  readonly api: KubeApi;
  readonly applier: Applier;
  readonly signerNamespace: string;
  readonly signerSecretName: string;
  readonly wallClock: () => Date;
  /** Whether a managed cluster is known not to have the newest of what agents are to trust. */
  readonly isBehind: () => boolean;
}

export interface HubCertificatesResult {
  readonly plan: CertificatesPlan;
  /** PEM: what agents trust brokers by; undefined: nothing is there. */
  readonly caBundle: string | undefined;
  readonly expiries: CertificateExpiries;
}

/** The names of all Secrets that hold certificates. */
export function secretNamesOf({ spec }: ManagedProxyConfiguration, signer: string): SecretNames {
  const { secrets } = spec.authentication.dump;
  return {
    ...defaultSecretNames,
    signer,
    proxyServer: secrets.signingProxyServerSecretName,
    agentServer: secrets.signingAgentServerSecretName,
    proxyClient: secrets.signingProxyClientSecretName,
  };
}

/** Makes the Secrets what they shall be. All are asked for: what a cache does not know yet would be made a second time. */
export class HubCertificates {
  readonly #options: HubCertificatesOptions;

  constructor(options: HubCertificatesOptions) {
    this.#options = options;
  }

  /** @param sans of the hub's servers @param failures takes what is in the way */
  async reconcile(
    configuration: ManagedProxyConfiguration,
    sans: readonly string[],
    failures: Failures,
    signal: AbortSignal,
  ): Promise<HubCertificatesResult> {
    const { signerNamespace, signerSecretName, wallClock, isBehind } = this.#options;
    const { namespace } = configuration.spec.proxyServer;
    const secretNames = secretNamesOf(configuration, signerSecretName);
    const observed = await this.#observe(secretNames, namespace, signal);
    const { labels, ownerReferences } = hubMeta(configuration, '');
    const plan = await planCertificates(observed, {
      now: wallClock(),
      signerNamespace,
      hubNamespace: namespace,
      names: hubNames(sans),
      secretNames,
      metadata: { ...(labels && { labels }), ...(ownerReferences && { ownerReferences }) },
      heldBack: { konnectivity: isBehind() },
    });
    for (const { secret, sentence } of plan.problems) failures.add(`Secret ${secret}`, sentence);
    await this.#apply(plan, Object.values(observed), failures, signal);
    return {
      plan,
      caBundle: plan.konnectivity?.bundlePem ?? textIn(observed.serverCa, 'ca.crt'),
      expiries: await expiriesOf(plan.leaves, observed),
    };
  }

  async #observe(
    names: SecretNames,
    hubNamespace: string,
    signal: AbortSignal,
  ): Promise<ObservedCertificates> {
    const { api, signerNamespace } = this.#options;
    const read = async ([key, name]: [string, string]) => {
      const isSigner = key === 'signer' || key === 'agentSigner';
      const namespace = isSigner ? signerNamespace : hubNamespace;
      const ref = { apiVersion: 'v1', kind: 'Secret', namespace, name };
      return [key, await find(api, ref, { signal })] as const;
    };
    return Object.fromEntries(await Promise.all(Object.entries(names).map(read)));
  }

  /** In order, and not beyond the first that fails: nothing is shown before it is trusted. */
  async #apply(
    { secrets }: CertificatesPlan,
    observed: readonly (KubeObject | undefined)[],
    failures: Failures,
    signal: AbortSignal,
  ): Promise<void> {
    for (const secret of secrets) {
      const { name, namespace } = secret.metadata;
      const live = observed.find(
        (one) => one?.metadata.name === name && one.metadata.namespace === namespace,
      );
      const write = () => this.#options.applier.apply(secret, live, signal);
      if (!(await failures.attempt(secret, write))) return;
    }
  }
}

/** Until when the certificates are good: those that were planned, else those that are there. */
export async function expiriesOf(
  leaves: CertificatesPlan['leaves'],
  observed: ObservedCertificates,
): Promise<CertificateExpiries> {
  const expiry = async (leaf: 'proxyServer' | 'agentServer' | 'proxyClient') => {
    const certificate = leaves[leaf]?.certificate ?? (await leafIn(observed[leaf]));
    return certificate?.notAfter.getTime();
  };
  return {
    proxyServer: await expiry('proxyServer'),
    agentServer: await expiry('agentServer'),
    proxyClient: await expiry('proxyClient'),
  };
}
