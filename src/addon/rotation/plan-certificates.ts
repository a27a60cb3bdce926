import { hubSecrets } from '../api/names.ts';
import { secret } from '../api/objects.ts';
import { type Purpose, X509Error } from '../../base/x509/index.ts';
import type { KubeObject, ObjectMeta } from '../../kube/client/kube-object.ts';
import {
  type AuthorityPlan,
  type AuthoritySpec,
  type FindLaggards,
  planRotation,
} from './authority-rotation.ts';
import { type HubNames, type LeafPlan, leafIn, planLeaf } from './leaf-plan.ts';
import { dayMs, earliest } from './lifetimes.ts';
import { annotations } from './secret.ts';

/** The Secrets as the API server has them. Undefined: there is none. */
export type ObservedCertificates = Partial<Record<keyof SecretNames, KubeObject | undefined>>;

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
  /** The names of the user-server. Undefined: its certificate is not ours. */
  readonly userServerNames?: HubNames | undefined;
  /**
   * Default: rotations begin and continue. True: rotations keep their stages, because clusters
   * cannot learn of changes.
   */
  readonly paused?: boolean | undefined;
  /** Names of Secrets, where they are not the usual ones. */
  readonly secretNames?: Partial<SecretNames> | undefined;
  /**
   * For the Secrets in the hub's namespace. The Secrets of the CAs have no owner, so they remain
   * after an uninstall, as with Cluster Proxy.
   */
  readonly metadata?: Pick<ObjectMeta, 'labels' | 'ownerReferences'> | undefined;
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
  userServer: hubSecrets.userServer,
} as const;
export type SecretNames = Readonly<Record<keyof typeof defaultSecretNames, string>>;

const purposes = {
  proxyServer: 'serverAuth',
  agentServer: 'serverAuth',
  proxyClient: 'clientAuth',
  userServer: 'serverAuth',
} as const satisfies Record<string, Purpose>;
export type LeafName = keyof typeof purposes;
export const leafNames = Object.keys(purposes) as readonly LeafName[];

export type CertificatesPlan = Readonly<Awaited<ReturnType<typeof planCertificates>>>;

/**
 * The interval in which a Secret that a person must correct is read again, in milliseconds. A watch
 * is usually earlier.
 */
const correctedMs = 60_000;

/** The CAs: the keys of their Secrets and bundles, and what does not change about them. */
const authorities = {
  agents: {
    signer: 'agentSigner',
    bundle: 'agentCa',
    commonName: 'open-cluster-management:cluster-proxy:agents',
    kind: 'ecdsa',
  },
  konnectivity: {
    signer: 'signer',
    bundle: 'serverCa',
    // The name and RSA are those of Cluster Proxy, so that it can use the CA after a rollback.
    commonName: 'open-cluster-management:cluster-proxy',
    kind: 'rsa',
  },
} as const;

/** Plans all certificates of the hub from those that exist. Only the keys are random. */
export async function planCertificates(observed: ObservedCertificates, spec: CertificatesSpec) {
  const { now, signerNamespace, laggards, paused = false } = spec;
  const names = { ...defaultSecretNames, ...spec.secretNames };
  const problems: { readonly secret: string; readonly sentence: string }[] = [];
  const planAuthority = async (
    of: keyof typeof authorities,
    more: Pick<AuthoritySpec, 'paused' | 'laggards' | 'leaves'>,
  ): Promise<AuthorityPlan | undefined> => {
    const { signer, bundle, ...constant } = authorities[of];
    const seen = { signer: observed[signer], bundle: observed[bundle] };
    const isThere = seen.signer !== undefined && seen.bundle !== undefined;
    if (spec.names === undefined && !isThere) return undefined;
    const where = { namespace: signerNamespace, name: names[signer] };
    try {
      return await planRotation({ ...where, ...constant, ...more, ...seen, now });
    } catch (thrown) {
      if (!(thrown instanceof X509Error)) throw thrown;
      const secret = `${where.namespace}/${where.name}`;
      const sentence = `the CA in Secret ${secret} cannot be used (${thrown.message}): restore it, or delete the Secret to get a new CA`;
      problems.push({ secret, sentence });
      return undefined;
    }
  };

  const agents = await planAuthority('agents', {
    paused,
    // Agents use certificates of this CA. The programs that trust it are on the hub.
    laggards: laggards === undefined ? {} : { retiring: laggards.agentCertificate },
    leaves: [],
  });
  const leaves = await Promise.all(ownLeaves(spec).map((leaf) => leafIn(observed[leaf])));
  const konnectivity = await planAuthority('konnectivity', {
    // Clusters do not get a bundle while no CA signs for their agents.
    paused: paused || agents === undefined,
    // Agents trust certificates of this CA, and have none.
    laggards: laggards === undefined ? {} : { distributing: laggards.bundle },
    leaves: leaves.filter((leaf) => leaf !== undefined),
  });
  const leafPlans = konnectivity ? await planLeaves(observed, konnectivity, spec) : {};
  /** A Secret in the hub's namespace. */
  const stored = (key: keyof SecretNames, texts: Readonly<Record<string, string>>, more = {}) => {
    const metadata = { name: names[key], namespace: spec.hubNamespace, ...spec.metadata, ...more };
    return secret(metadata, texts, observed[key]?.['type']);
  };
  const bundle = (key: keyof SecretNames, plan: AuthorityPlan | undefined) => {
    if (plan === undefined) return [];
    const since = { [annotations.trustedSince]: plan.trustedSince.toISOString() };
    return [stored(key, { 'ca.crt': plan.bundlePem }, { annotations: since })];
  };
  const plans = [konnectivity, agents, ...Object.values(leafPlans)];
  const againMs = problems.length > 0 ? correctedMs : dayMs;
  const again = plans.flatMap((one) => one?.lookAgainAt ?? []);
  if (problems.length > 0 || again.length === 0) again.push(new Date(now.getTime() + againMs));
  return {
    /**
     * The Secrets, to be applied in this order up to the first that fails. A CA is stored before it
     * is in a bundle, and it is in the bundle before a certificate of it is used.
     */
    secrets: [
      ...[konnectivity, agents].flatMap((authority) => authority?.secret ?? []),
      ...bundle('serverCa', konnectivity),
      ...bundle('agentCa', agents),
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

/** The certificates that the addon issues. */
function ownLeaves({ userServerNames }: CertificatesSpec): readonly LeafName[] {
  return leafNames.filter((leaf) => leaf !== 'userServer' || userServerNames !== undefined);
}

async function planLeaves(
  observed: ObservedCertificates,
  { signing: authority }: AuthorityPlan,
  spec: CertificatesSpec,
): Promise<Partial<Record<LeafName, LeafPlan>>> {
  const plans: Partial<Record<LeafName, LeafPlan>> = {};
  for (const leaf of ownLeaves(spec)) {
    const known = leaf === 'userServer' ? spec.userServerNames : spec.names;
    const names = known ?? (await leafIn(observed[leaf]))?.alternativeNames;
    if (names === undefined) continue;
    plans[leaf] = await planLeaf(observed[leaf], {
      purpose: purposes[leaf],
      names,
      authority,
      now: spec.now,
    });
  }
  return plans;
}
