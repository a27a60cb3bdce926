import { hubSecrets } from '../api/names.ts';
import { secret } from '../api/objects.ts';
import { type Purpose, X509Error } from '../../base/x509/index.ts';
import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';
import {
  type AuthorityPlan,
  type AuthoritySpec,
  type FindLaggards,
  defaultWaits,
  type ObservedAuthority,
  planAuthority,
  type RotationWaits,
} from './authority-plan.ts';
import type { HubNames } from './leaf-plan.ts';
import { type LeafPlan, leafIn, planLeaf } from './leaf-plan.ts';
import { dayMs, earliest } from './lifetimes.ts';
import { annotations } from './secret.ts';

/** The Secrets as the API server has them. Undefined: there is none. */
export type ObservedCertificates = {
  readonly [Secret in keyof SecretNames]?: KubeObject | undefined;
};

export interface CertificatesSpec {
  readonly now: Date;
  readonly signerNamespace: string;
  readonly hubNamespace: string;
  /**
   * The names of the hub's servers and its client. Undefined: they are not known, because the
   * configuration has problems. Then existing certificates are renewed with their names, and no new
   * ones are made.
   */
  readonly names: HubNames | undefined;
  /**
   * Default: rotations go on and begin. True: they stay where they are, because nobody can tell the
   * clusters.
   */
  readonly paused?: boolean | undefined;
  /** Names of Secrets, where they are not the usual ones. */
  readonly secretNames?: Partial<SecretNames> | undefined;
  /**
   * Goes onto the Secrets in the hub's namespace. Those of the CAs belong to nobody: they outlive
   * an uninstall, as they always have.
   */
  readonly metadata?: Pick<ObjectMeta, 'labels' | 'ownerReferences'> | undefined;
  readonly waits?: Readonly<Record<'requested' | 'age', RotationWaits>> | undefined;
  /** Called only in stages that wait for clusters. */
  readonly laggards?: RotationLaggards | undefined;
}

/** The managed clusters that have not followed a rotation yet. */
export interface RotationLaggards {
  /** Clusters that have not applied the newest bundle for konnectivity. */
  readonly bundle: FindLaggards;
  /** Clusters whose agents may not use a certificate of the current agents' CA yet. */
  readonly agentCertificate: FindLaggards;
}

export const defaultSecretNames = {
  /** The CA of the hub's servers and of konnectivity clients. */
  signer: 'cluster-proxy-signer',
  /** The CA of agents. */
  agentSigner: 'cluster-proxy-agent-signer',
  serverCa: hubSecrets.serverCa,
  agentCa: hubSecrets.agentCa,
  proxyServer: 'proxy-server',
  agentServer: 'agent-server',
  proxyClient: 'proxy-client',
} as const;
export type SecretNames = Readonly<Record<keyof typeof defaultSecretNames, string>>;

export const purposes = {
  proxyServer: 'serverAuth',
  agentServer: 'serverAuth',
  proxyClient: 'clientAuth',
} as const satisfies Record<string, Purpose>;
export type LeafName = keyof typeof purposes;

export type CertificatesPlan = Readonly<Awaited<ReturnType<typeof planCertificates>>>;

/**
 * The interval in which a Secret that a person must correct is read again, in milliseconds. A watch
 * is usually earlier.
 */
const correctedMs = 60_000;

/** Plans all certificates of the hub from those that exist. Only the keys are random. */
export async function planCertificates(observed: ObservedCertificates, spec: CertificatesSpec) {
  const names = { ...defaultSecretNames, ...spec.secretNames };
  const problems: { readonly secret: string; readonly sentence: string }[] = [];
  const plan = async (
    of: Pick<AuthoritySpec, 'name' | 'commonName' | 'kind' | 'laggards' | 'paused'>,
    seen: ObservedAuthority,
  ): Promise<AuthorityPlan | undefined> => {
    const isThere = seen.signer !== undefined && seen.bundle !== undefined;
    if (spec.names === undefined && !isThere) return undefined;
    const { now, signerNamespace: namespace, waits = defaultWaits } = spec;
    try {
      return await planAuthority(seen, { ...of, namespace, now, waits });
    } catch (thrown) {
      if (!(thrown instanceof X509Error)) throw thrown;
      const secret = `${namespace}/${of.name}`;
      const sentence = `the CA in Secret ${secret} cannot be used (${thrown.message}): restore it, or delete the Secret to get a new CA`;
      problems.push({ secret, sentence });
      return undefined;
    }
  };

  const { laggards, paused = false } = spec;
  const agents = await plan(
    {
      name: names.agentSigner,
      commonName: 'open-cluster-management:cluster-proxy:agents',
      kind: 'ecdsa',
      paused,
      // Agents use certificates of this CA. The programs that trust it are on the hub.
      laggards: laggards === undefined ? {} : { retiring: laggards.agentCertificate },
    },
    { signer: observed.agentSigner, bundle: observed.agentCa, leaves: [] },
  );
  const { proxyServer, agentServer, proxyClient } = observed;
  const leaves = await Promise.all([proxyServer, agentServer, proxyClient].map(leafIn));
  const konnectivity = await plan(
    {
      name: names.signer,
      // The name and RSA are those of Cluster Proxy, so that it can use the CA after a rollback.
      commonName: 'open-cluster-management:cluster-proxy',
      kind: 'rsa',
      // Clusters do not get a bundle while no CA signs for their agents.
      paused: paused || agents === undefined,
      // Agents trust certificates of this CA, and have none.
      laggards: laggards === undefined ? {} : { distributing: laggards.bundle },
    },
    {
      signer: observed.signer,
      bundle: observed.serverCa,
      leaves: leaves.filter((leaf) => leaf !== undefined),
    },
  );
  const leafPlans: Readonly<Partial<Record<LeafName, LeafPlan>>> =
    konnectivity === undefined ? {} : await planLeaves(observed, konnectivity, spec);
  /** A Secret in the hub's namespace. */
  const stored = (key: keyof SecretNames, texts: Readonly<Record<string, string>>, more = {}) => {
    const metadata = { name: names[key], namespace: spec.hubNamespace, ...spec.metadata, ...more };
    return secret(metadata, texts, observed[key]?.['type']);
  };
  const bundle = (key: keyof SecretNames, { bundlePem, trustedSince }: AuthorityPlan) => {
    const since = { [annotations.trustedSince]: trustedSince.toISOString() };
    return stored(key, { 'ca.crt': bundlePem }, { annotations: since });
  };
  const plans = [konnectivity, agents, ...Object.values(leafPlans)];
  const againMs = problems.length > 0 ? correctedMs : dayMs;
  const again = plans.flatMap((one) => one?.lookAgainAt ?? []);
  if (problems.length > 0 || again.length === 0) again.push(new Date(spec.now.getTime() + againMs));
  return {
    /**
     * The Secrets, to be applied in this order up to the first that fails. A CA is stored before it
     * is in a bundle, and it is in the bundle before a certificate of it is used.
     */
    secrets: [
      ...[konnectivity, agents].flatMap((authority) => authority?.secret ?? []),
      ...(konnectivity === undefined ? [] : [bundle('serverCa', konnectivity)]),
      ...(agents === undefined ? [] : [bundle('agentCa', agents)]),
      ...Object.entries(leafPlans).map(([leaf, { texts }]) =>
        stored(leaf as LeafName, { ...texts, 'ca.crt': konnectivity!.bundlePem }),
      ),
    ],
    /** CAs that cannot be used, with the name of the Secret and the next step. */
    problems,
    lookAgainAt: earliest(again),
    /** Undefined: the CA cannot be read, see `problems`. The same applies to `agents`. */
    konnectivity,
    agents,
    /** The planned leaf certificates: all of them when `konnectivity` and the names are known. */
    leaves: leafPlans,
  };
}

async function planLeaves(
  observed: ObservedCertificates,
  { signing }: AuthorityPlan,
  { now, names }: CertificatesSpec,
): Promise<Partial<Record<LeafName, LeafPlan>>> {
  const plans: Partial<Record<LeafName, LeafPlan>> = {};
  for (const [leaf, purpose] of Object.entries(purposes) as [LeafName, Purpose][]) {
    const wanted = names ?? (await leafIn(observed[leaf]))?.alternativeNames;
    if (wanted === undefined) continue;
    const spec = { purpose, names: wanted, authority: signing, now };
    plans[leaf] = await planLeaf(observed[leaf], spec);
  }
  return plans;
}
