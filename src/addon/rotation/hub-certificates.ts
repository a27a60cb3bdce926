import type { KubeObject } from '../../kube/client/kube-object.ts';
import { find } from '../../kube/client/kube-ref.ts';
import { isHubObject } from '../compat/name-conflict.ts';
import type { ManagedProxyConfiguration } from '../configuration/managed-proxy-configuration.ts';
import { hubMeta } from '../configuration/owned-metadata.ts';
import type { ControllerContext } from '../runtime/controller-context.ts';
import type { Failures } from '../runtime/failures.ts';
import type { AuthorityPlan } from './authority-plan.ts';
import { hubNames } from './hub-names.ts';
import { leafIn } from './leaf-plan.ts';
import {
  type CertificatesPlan,
  defaultSecretNames,
  type RotationLaggards,
  type ObservedCertificates,
  planCertificates,
  type SecretNames,
} from './plan-certificates.ts';
import { noRotations, type RotationsSeen, formatClusters } from './rotation-status.ts';
import { textIn } from './secret.ts';

export interface HubCertificatesOptions extends ControllerContext {
  readonly signerNamespace: string;
  readonly signerSecretName: string;
  readonly laggards: RotationLaggards;
}

/** When the leaf in each Secret ends, in milliseconds since 1970; undefined where there is none that can be read. */
export interface CertificateExpiries {
  readonly proxyServer: number | undefined;
  readonly agentServer: number | undefined;
  readonly proxyClient: number | undefined;
}

/** What certificates are for. */
export type CertificatesMode =
  /** What the configuration says, with these names in the certificates. */
  | { readonly kind: 'follow'; readonly sans: readonly string[] }
  /**
   * What is there stays good: the configuration cannot be followed. `paused`: nothing is known that clusters could be told, so no
   * rotation begins or goes on.
   */
  | { readonly kind: 'hold'; readonly paused: boolean };

/** What there is now: a plan that could not be stored is no more than a spec. */
export interface HubCertificatesResult {
  /** The CA of agents' certificates; undefined: there is none that is stored, and trusted by brokers. */
  readonly agents: AuthorityPlan | undefined;
  /** PEM: what agents trust brokers by; undefined: nothing is there. */
  readonly caBundle: string | undefined;
  readonly expiries: CertificateExpiries;
  readonly lookAgainAt: Date;
}

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

/** Makes the Secrets what they shall be. All are asked for: what a cache does not know yet would be made a second time. */
export class HubCertificates {
  readonly #options: HubCertificatesOptions;
  #rotations = noRotations;

  constructor(options: HubCertificatesOptions) {
    this.#options = options;
  }

  /** As they were last seen. */
  get rotations(): RotationsSeen {
    return this.#rotations;
  }

  /** @param failures takes what is in the way */
  async reconcile(
    configuration: ManagedProxyConfiguration,
    mode: CertificatesMode,
    failures: Failures,
    signal: AbortSignal,
  ): Promise<HubCertificatesResult> {
    const { signerNamespace, signerSecretName, wallClock, laggards } = this.#options;
    const { namespace } = configuration.spec.proxyServer;
    const secretNames = secretNamesOf(configuration, signerSecretName);
    const found = await this.#observe(configuration, signal);
    const observed = mode.kind === 'follow' ? found : withoutForeign(found);
    const { labels, ownerReferences } = hubMeta(configuration, '');
    const plan = await planCertificates(observed, {
      now: wallClock(),
      signerNamespace,
      hubNamespace: namespace,
      names: mode.kind === 'follow' ? hubNames(mode.sans) : undefined,
      paused: mode.kind === 'hold' && mode.paused,
      secretNames,
      metadata: { ...(labels && { labels }), ...(ownerReferences && { ownerReferences }) },
      laggards,
    });
    for (const { secret, sentence } of plan.problems) failures.add(`Secret ${secret}`, sentence);
    const stored = await this.#apply(plan, Object.values(observed), failures, signal);
    if (stored.size === plan.secrets.length) this.#tell(plan, secretNames);
    const isStored = (key: keyof SecretNames) => stored.has(secretNames[key]);
    const { konnectivity, agents, leaves, lookAgainAt } = plan;
    const seen = textIn(observed.serverCa, 'ca.crt');
    return {
      // Who is told of a CA asks for a certificate of it, anew for each: one that is forgotten again must never be told.
      agents: isStored('agentSigner') && isStored('agentCa') ? agents : undefined,
      caBundle: isStored('serverCa') ? konnectivity?.bundlePem : seen,
      expiries: await expiriesOf(leaves, found, isStored),
      lookAgainAt,
    };
  }

  /** Until when the certificates are good that are there. */
  async expiries(
    configuration: ManagedProxyConfiguration,
    signal: AbortSignal,
  ): Promise<CertificateExpiries> {
    return await expiriesOf({}, await this.#observe(configuration, signal), () => false);
  }

  /** Says in the log when a rotation has come a stage further, and whom it has left behind. */
  #tell(plan: CertificatesPlan, names: SecretNames): void {
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
        const said = { secret, stage, atLatest, ...clusters(wait?.laggards ?? []) };
        this.#options.log.info('rotation of a CA has gone on', said);
      }
      if (skippedLaggards.length > 0) {
        const said = { secret, stage, ...clusters(skippedLaggards) };
        this.#options.log.warn('rotation of a CA does not wait for clusters any longer', said);
      }
      return { secret, stage, wait };
    };
    this.#rotations = {
      konnectivity: seen('konnectivity', names.signer),
      agents: seen('agents', names.agentSigner),
    };
  }

  async #observe(
    configuration: ManagedProxyConfiguration,
    signal: AbortSignal,
  ): Promise<ObservedCertificates> {
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

  /** In order, and not beyond the first that fails: nothing is shown before it is trusted. @returns the names of those that are stored */
  async #apply(
    { secrets }: CertificatesPlan,
    observed: readonly (KubeObject | undefined)[],
    failures: Failures,
    signal: AbortSignal,
  ): Promise<ReadonlySet<string>> {
    const stored = new Set<string>();
    for (const secret of secrets) {
      const { name, namespace } = secret.metadata;
      const live = observed.find(
        (one) => one?.metadata.name === name && one.metadata.namespace === namespace,
      );
      const write = () => this.#options.applier.apply(secret, live, signal);
      if (!(await failures.attempt(secret, write))) break;
      stored.add(name);
    }
    return stored;
  }
}

/** A wrong configuration may name what is somebody else's. The CAs are not found through it. */
function withoutForeign(found: ObservedCertificates): ObservedCertificates {
  const { signer, agentSigner, ...others } = found;
  const own = Object.entries(others).filter(([, secret]) => secret && isHubObject(secret));
  return { signer, agentSigner, ...Object.fromEntries(own) };
}

/** Until when the certificates are good: those that were planned and stored, else those that are there. */
async function expiriesOf(
  leaves: CertificatesPlan['leaves'],
  observed: ObservedCertificates,
  isStored: (leaf: keyof SecretNames) => boolean,
): Promise<CertificateExpiries> {
  const expiry = async (leaf: 'proxyServer' | 'agentServer' | 'proxyClient') => {
    const planned = isStored(leaf) ? leaves[leaf]?.certificate : undefined;
    const certificate = planned ?? (await leafIn(observed[leaf]));
    return certificate?.notAfter.getTime();
  };
  return {
    proxyServer: await expiry('proxyServer'),
    agentServer: await expiry('agentServer'),
    proxyClient: await expiry('proxyClient'),
  };
}
