import { type Certificate, type Purpose, X509Error } from '../../base/x509/index.ts';
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
import type { HubNames } from './hub-names.ts';
import { type LeafPlan, leafIn, planLeaf } from './leaf-plan.ts';
import { dayMs, earliest } from './lifetimes.ts';
import { annotations, makeSecret } from './secret.ts';

/** The Secrets as they are; undefined where there is none. Those of the CAs are asked for, not taken from a cache. */
export interface ObservedCertificates {
  /** `cluster-proxy-signer`: signs what the hub's servers and konnectivity clients show. */
  readonly signer?: KubeObject | undefined;
  /** `cluster-proxy-agent-signer`: signs what agents show, and nothing else. */
  readonly agentSigner?: KubeObject | undefined;
  /** `proxy-server-ca` */
  readonly serverCa?: KubeObject | undefined;
  /** `agent-ca` */
  readonly agentCa?: KubeObject | undefined;
  readonly proxyServer?: KubeObject | undefined;
  readonly agentServer?: KubeObject | undefined;
  readonly proxyClient?: KubeObject | undefined;
}

export interface CertificatesSpec {
  readonly now: Date;
  readonly signerNamespace: string;
  readonly hubNamespace: string;
  /**
   * Of the hub's servers and its client. Undefined: nobody can say at the moment. Then what is there is renewed with the names that it
   * has, and nothing is made that is not there.
   */
  readonly names: HubNames | undefined;
  /** Default: rotations go on and begin. True: they stay where they are, because nobody can tell the clusters. */
  readonly paused?: boolean | undefined;
  /** Names of Secrets, where they are not the usual ones. */
  readonly secretNames?: Partial<SecretNames> | undefined;
  /** Goes onto the Secrets in the hub's namespace. Those of the CAs belong to nobody: they outlive an uninstall, as they always have. */
  readonly metadata?: Pick<ObjectMeta, 'labels' | 'ownerReferences'> | undefined;
  readonly waits?: Readonly<Record<'requested' | 'age', RotationWaits>> | undefined;
  /** Asked only while a rotation would wait for them. */
  readonly laggards?: RotationLaggards | undefined;
}

/** Names of the managed clusters that have not followed a rotation yet. */
export interface RotationLaggards {
  /** Have not taken over the newest bundle of the konnectivity side. */
  readonly bundle: FindLaggards;
  /** Their agents may not yet show a certificate of the agents' CA that signs now. */
  readonly agentCertificate: FindLaggards;
}

export interface SecretNames {
  readonly signer: string;
  readonly agentSigner: string;
  readonly serverCa: string;
  readonly agentCa: string;
  readonly proxyServer: string;
  readonly agentServer: string;
  readonly proxyClient: string;
}

export const defaultSecretNames: SecretNames = {
  signer: 'cluster-proxy-signer',
  agentSigner: 'cluster-proxy-agent-signer',
  serverCa: 'proxy-server-ca',
  agentCa: 'agent-ca',
  proxyServer: 'proxy-server',
  agentServer: 'agent-server',
  proxyClient: 'proxy-client',
};

const purposes = {
  proxyServer: 'serverAuth',
  agentServer: 'serverAuth',
  proxyClient: 'clientAuth',
} as const satisfies Record<string, Purpose>;
type LeafName = keyof typeof purposes;

/** What is in the way, for a condition. */
export interface CertificateProblem {
  /** `namespace/name` of the Secret. */
  readonly secret: string;
  /** Names the Secret, what is wrong with it and the next step. */
  readonly sentence: string;
}

export interface CertificatesPlan {
  /**
   * What the Secrets shall be, to be applied in this order and not beyond the first that fails: a CA is stored before anybody is
   * told to trust it, and trusted before it has signed what is shown.
   */
  readonly secrets: readonly KubeObject[];
  readonly problems: readonly CertificateProblem[];
  readonly lookAgainAt: Date;
  /** Undefined: it cannot be read, see `problems`. */
  readonly konnectivity: AuthorityPlan | undefined;
  readonly agents: AuthorityPlan | undefined;
  /** Those that are planned: all where `konnectivity` is and the names are given. */
  readonly leaves: Readonly<Partial<Record<LeafName, LeafPlan>>>;
}

/** How soon to look again at a Secret that a person has to mend, in milliseconds; a watch is usually earlier. */
const mendedMs = 60_000;

/** What all certificates of the hub shall be, seen what they are. Deterministic but for the keys that it makes. */
export async function planCertificates(
  observed: ObservedCertificates,
  spec: CertificatesSpec,
): Promise<CertificatesPlan> {
  const names = { ...defaultSecretNames, ...spec.secretNames };
  const problems: CertificateProblem[] = [];
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
      const sentence = `the CA in Secret ${secret} cannot be used (${thrown.message}): put it back, or delete the Secret to have a new CA made`;
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
      // Clusters show what this one signs; those who trust it are on the hub.
      laggards: laggards === undefined ? {} : { retiring: laggards.agentCertificate },
    },
    { signer: observed.agentSigner, bundle: observed.agentCa, leaves: [] },
  );
  const konnectivity = await plan(
    {
      name: names.signer,
      // RSA, and the name: so that Cluster Proxy itself can go on with it, if somebody wants to go back.
      commonName: 'open-cluster-management:cluster-proxy',
      kind: 'rsa',
      // Clusters hear of no bundle while it cannot be said who signs for their agents.
      paused: paused || agents === undefined,
      // Clusters trust what this one signs, and show nothing of it.
      laggards: laggards === undefined ? {} : { distributing: laggards.bundle },
    },
    {
      signer: observed.signer,
      bundle: observed.serverCa,
      leaves: await leavesIn(observed),
    },
  );
  const leafPlans =
    konnectivity === undefined ? {} : await planLeaves(observed, konnectivity, spec);
  const bundles = [
    { authority: konnectivity, name: names.serverCa, seen: observed.serverCa },
    { authority: agents, name: names.agentCa, seen: observed.agentCa },
  ];
  const secrets = [
    ...[konnectivity, agents].flatMap((authority) => authority?.secret ?? []),
    ...bundles.flatMap(({ authority, name, seen }) =>
      authority === undefined ? [] : bundleSecret(authority, name, spec, seen),
    ),
    ...Object.entries(leafPlans).map(([leaf, { texts }]) => {
      const key = leaf as LeafName;
      const content = { ...texts, 'ca.crt': konnectivity!.bundlePem };
      return makeSecret(hubMetadata(names[key], spec), content, observed[key]);
    }),
  ];
  const mended = problems.map(() => new Date(spec.now.getTime() + mendedMs));
  const authorities = [konnectivity, agents].flatMap((authority) => authority?.lookAgainAt ?? []);
  const certificates = Object.values(leafPlans).map(({ lookAgainAt }) => lookAgainAt);
  const [first, ...others] = [...mended, ...authorities, ...certificates];
  return {
    secrets,
    problems,
    lookAgainAt: earliest(first ?? new Date(spec.now.getTime() + dayMs), ...others),
    konnectivity,
    agents,
    leaves: leafPlans,
  };
}

async function leavesIn(observed: ObservedCertificates): Promise<readonly Certificate[]> {
  const { proxyServer, agentServer, proxyClient } = observed;
  const leaves = await Promise.all([proxyServer, agentServer, proxyClient].map(leafIn));
  return leaves.filter((leaf) => leaf !== undefined);
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

function bundleSecret(
  { bundlePem, trustedSince }: AuthorityPlan,
  name: string,
  spec: CertificatesSpec,
  seen: KubeObject | undefined,
): KubeObject {
  const since = { [annotations.trustedSince]: trustedSince.toISOString() };
  const metadata = { ...hubMetadata(name, spec), annotations: since };
  return makeSecret(metadata, { 'ca.crt': bundlePem }, seen);
}

function hubMetadata(name: string, { hubNamespace, metadata }: CertificatesSpec): ObjectMeta {
  return { name, namespace: hubNamespace, ...metadata };
}
