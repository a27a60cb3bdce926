import type { KubeObject } from '../../kube/client/kube-object.ts';
import { find } from '../../kube/client/kube-ref.ts';
import { findSame } from '../api/objects.ts';
import { isHubObject } from '../compat/name-conflict.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import type { ControllerContext } from '../runtime/controller-context.ts';
import type { ObjectWriter } from '../runtime/object-writer.ts';
import { leafIn } from './leaf-plan.ts';
import {
  type CertificatesPlan,
  type CertificatesSpec,
  defaultSecretNames,
  type LeafName,
  leafNames,
  type ObservedCertificates,
  planCertificates,
  type SecretNames,
} from './plan-certificates.ts';
import { rotationLaggards } from './rotation-laggards.ts';
import { noRotations, type RotationsSeen, formatClusters } from './rotation-status.ts';
import { textIn } from './secret.ts';

export interface HubCertificatesOptions extends ControllerContext {
  readonly signerNamespace: string;
  readonly signerSecretName: string;
}

/**
 * When the certificate in each Secret expires, in milliseconds since 1970. Undefined: there is none
 * that can be read.
 */
export type CertificateExpiries = Readonly<Record<LeafName, number | undefined>>;

/** The stored certificates. A plan that could not be stored is left out. */
export type HubCertificatesResult = Readonly<Awaited<ReturnType<HubCertificates['reconcile']>>>;

/** The names of all Secrets that hold certificates. */
function secretNamesOf({ spec }: ManagedProxyConfiguration, signer: string): SecretNames {
  const { secrets } = spec.authentication.dump;
  return {
    ...defaultSecretNames,
    signer,
    proxyServer: secrets.signingProxyServerSecretName,
    agentServer: secrets.signingAgentServerSecretName,
    proxyClient: secrets.signingProxyClientSecretName,
  };
}

/**
 * Reconciles the Secrets with certificates. They are read from the API server, because a cache may
 * not have a new Secret yet.
 */
export class HubCertificates {
  readonly #options: HubCertificatesOptions;
  #rotations = noRotations;

  constructor(options: HubCertificatesOptions) {
    this.#options = options;
  }

  /** The rotations after the last reconcile. */
  get rotations(): RotationsSeen {
    return this.#rotations;
  }

  /** @param writer collects the problems of single Secrets */
  async reconcile(
    configuration: ManagedProxyConfiguration,
    writer: ObjectWriter,
    signal: AbortSignal,
    basis: Pick<CertificatesSpec, 'names' | 'userServerNames' | 'paused'>,
  ) {
    const { signerNamespace, signerSecretName, nowMs, watches } = this.#options;
    const secretNames = secretNamesOf(configuration, signerSecretName);
    const found = await this.#observe(configuration, signal);
    const observed = basis.names === undefined ? withoutForeign(found) : found;
    const { labels, ownerReferences } = hubMeta(configuration, '');
    const plan = await planCertificates(observed, {
      ...basis,
      now: new Date(nowMs()),
      signerNamespace,
      hubNamespace: configuration.spec.proxyServer.namespace,
      secretNames,
      metadata: { labels, ownerReferences },
      laggards: rotationLaggards(watches, nowMs),
    });
    for (const { secret, sentence } of plan.problems) writer.fail(`Secret ${secret}`, sentence);
    const live = Object.values(observed).filter((secret) => secret !== undefined);
    const stored = new Map<string, KubeObject>();
    // The first failure ends it, so that no certificate is used before it is trusted.
    for (const secret of plan.secrets) {
      if (!(await writer.apply(secret, findSame(live, secret)))) break;
      stored.set(secret.metadata.name, secret);
    }
    if (stored.size === plan.secrets.length) this.#logRotations(plan, secretNames);
    const isStored = (key: keyof SecretNames) => stored.has(secretNames[key]);
    const { konnectivity, agents, lookAgainAt } = plan;
    const seen = textIn(observed.serverCa, 'ca.crt');
    return {
      /**
       * The CA of agents' certificates. Undefined: no CA is stored and trusted by brokers.
       * Klusterlets ask for a certificate of each CA that they learn of. So they must not learn of
       * a CA that is not stored.
       */
      agents: isStored('agentSigner') && isStored('agentCa') ? agents : undefined,
      /** PEM of the CAs by which agents trust brokers. Undefined: there are none. */
      caBundle: isStored('serverCa') ? konnectivity?.bundlePem : seen,
      expiries: await expiriesOf((leaf) => stored.get(secretNames[leaf]) ?? found[leaf]),
      lookAgainAt,
    };
  }

  /** When the existing certificates expire. */
  async expiries(configuration: ManagedProxyConfiguration, signal: AbortSignal) {
    const observed = await this.#observe(configuration, signal);
    return await expiriesOf((leaf) => observed[leaf]);
  }

  /** Logs each new stage of a rotation, and the clusters that it left behind. */
  #logRotations(plan: CertificatesPlan, names: SecretNames): void {
    const { signerNamespace } = this.#options;
    const seen = (of: 'konnectivity' | 'agents', name: string) => {
      const authority = plan[of];
      if (authority === undefined) return undefined;
      const { stage, wait, skippedLaggards } = authority;
      const secret = `${signerNamespace}/${name}`;
      const clusters = (laggards: readonly string[]) =>
        laggards.length === 0 ? {} : { clusters: laggards.length, names: formatClusters(laggards) };
      if (stage !== (this.#rotations[of]?.stage ?? 'steady')) {
        const atLatest = wait?.atLatest.toISOString();
        const entered = { secret, stage, atLatest, ...clusters(wait?.laggards ?? []) };
        this.#options.log.info('CA rotation entered the next stage', entered);
      }
      if (skippedLaggards.length > 0) {
        const left = { secret, stage, ...clusters(skippedLaggards) };
        this.#options.log.warn('CA rotation no longer waits for clusters', left);
      }
      return { secret, stage, wait };
    };
    this.#rotations = {
      konnectivity: seen('konnectivity', names.signer),
      agents: seen('agents', names.agentSigner),
    };
  }

  async #observe(configuration: ManagedProxyConfiguration, signal: AbortSignal) {
    const { api, signerNamespace, signerSecretName } = this.#options;
    const names = secretNamesOf(configuration, signerSecretName);
    const hubNamespace = configuration.spec.proxyServer.namespace;
    const read = async ([key, name]: [string, string]) => {
      const isSigner = key === 'signer' || key === 'agentSigner';
      const namespace = isSigner ? signerNamespace : hubNamespace;
      const ref = { apiVersion: 'v1', kind: 'Secret', namespace, name };
      return [key, await find(api, ref, { signal })] as const;
    };
    return Object.fromEntries(await Promise.all(Object.entries(names).map(read)));
  }
}

/**
 * Leaves out Secrets of other programs, which a wrong configuration can name. It does not name the
 * CAs.
 */
function withoutForeign(found: ObservedCertificates): ObservedCertificates {
  const { signer, agentSigner, ...others } = found;
  const own = Object.entries(others).filter(([, secret]) => secret && isHubObject(secret));
  return { signer, agentSigner, ...Object.fromEntries(own) };
}

async function expiriesOf(
  secretOf: (leaf: LeafName) => KubeObject | undefined,
): Promise<CertificateExpiries> {
  const expiries = leafNames.map(async (leaf) => {
    return [leaf, (await leafIn(secretOf(leaf)))?.notAfter.getTime()] as const;
  });
  return Object.fromEntries(await Promise.all(expiries)) as CertificateExpiries;
}
