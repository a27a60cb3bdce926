import { type Certificate, X509Error } from '../../base/x509.ts';
import type { KubeObject, ObjectMeta } from '../../kube/kube-object.ts';
import type { AuthorityKind } from './authority.ts';
import {
  type AuthorityPlan,
  type AuthorityWish,
  defaultWaits,
  type ObservedAuthority,
  planAuthority,
  type RotationWaits,
} from './authority-plan.ts';
import type { HubNames } from './hub-names.ts';
import { type LeafPlan, leafIn, planLeaf } from './leaf-plan.ts';
import { earliest } from './lifetimes.ts';
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

export interface CertificatesWish {
  readonly now: Date;
  readonly signerNamespace: string;
  readonly hubNamespace: string;
  readonly names: HubNames;
  /** Names of Secrets, where they are not the usual ones. */
  readonly secretNames?: Partial<SecretNames> | undefined;
  /** Goes onto the Secrets in the hub's namespace. Those of the CAs belong to nobody: they outlive an uninstall, as they always have. */
  readonly metadata?: Pick<ObjectMeta, 'labels' | 'ownerReferences'> | undefined;
  readonly waits?: Readonly<Record<'requested' | 'age', RotationWaits>> | undefined;
  /** Somebody is known not to have what the stage distributes (a managed cluster with the old bundle, say). */
  readonly heldBack?: { readonly konnectivity?: boolean; readonly agents?: boolean } | undefined;
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

type LeafName = 'proxyServer' | 'agentServer' | 'proxyClient';

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
  /** Present where `konnectivity` is. */
  readonly leaves: Readonly<Partial<Record<LeafName, LeafPlan>>>;
}

/** How soon to look again at a Secret that a person has to mend, in milliseconds; a watch is usually earlier. */
const mendedMs = 60_000;

/** What all certificates of the hub shall be, seen what they are. Deterministic but for the keys that it makes. */
export async function planCertificates(
  observed: ObservedCertificates,
  wish: CertificatesWish,
): Promise<CertificatesPlan> {
  const names = { ...defaultSecretNames, ...wish.secretNames };
  const problems: CertificateProblem[] = [];
  const plan = async (
    name: string,
    commonName: string,
    kind: AuthorityKind,
    heldBack: boolean | undefined,
    seen: ObservedAuthority,
  ): Promise<AuthorityPlan | undefined> => {
    const authority: AuthorityWish = {
      name,
      namespace: wish.signerNamespace,
      commonName,
      kind,
      now: wish.now,
      waits: wish.waits ?? defaultWaits,
      heldBack: heldBack === true,
    };
    try {
      return await planAuthority(seen, authority);
    } catch (thrown) {
      if (!(thrown instanceof X509Error)) throw thrown;
      const secret = `${wish.signerNamespace}/${name}`;
      const sentence = `the CA in Secret ${secret} cannot be used (${thrown.message}): put it back, or delete the Secret to have a new CA made`;
      problems.push({ secret, sentence });
      return undefined;
    }
  };

  const leaves = await leavesIn(observed);
  // RSA, and the name: so that Cluster Proxy itself can go on with it, if somebody wants to go back.
  const konnectivity = await plan(
    names.signer,
    'open-cluster-management:cluster-proxy',
    'rsa',
    wish.heldBack?.konnectivity,
    { signer: observed.signer, bundle: observed.serverCa, leaves },
  );
  const agents = await plan(
    names.agentSigner,
    'open-cluster-management:cluster-proxy:agents',
    'ecdsa',
    wish.heldBack?.agents,
    { signer: observed.agentSigner, bundle: observed.agentCa, leaves: [] },
  );
  const leafPlans: Partial<Record<LeafName, LeafPlan>> =
    konnectivity === undefined ? {} : await planLeaves(observed, konnectivity, wish);
  const bundles = [
    { authority: konnectivity, name: names.serverCa, seen: observed.serverCa },
    { authority: agents, name: names.agentCa, seen: observed.agentCa },
  ];
  const secrets = [
    ...[konnectivity, agents].flatMap((authority) => authority?.secret ?? []),
    ...bundles.flatMap(({ authority, name, seen }) =>
      authority === undefined ? [] : bundleSecret(authority, name, wish, seen),
    ),
    ...Object.entries(leafPlans).map(([leaf, { texts }]) => {
      const key = leaf as LeafName;
      const content = { ...texts, 'ca.crt': konnectivity!.bundlePem };
      return makeSecret(hubMetadata(names[key], wish), content, observed[key]);
    }),
  ];
  const mended = problems.map(() => new Date(wish.now.getTime() + mendedMs));
  const authorities = [konnectivity, agents].flatMap((authority) => authority?.lookAgainAt ?? []);
  const certificates = Object.values(leafPlans).map(({ lookAgainAt }) => lookAgainAt);
  const [first, ...others] = [...mended, ...authorities, ...certificates];
  return {
    secrets,
    problems,
    lookAgainAt: earliest(first!, ...others),
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
  { now, names }: CertificatesWish,
): Promise<Record<LeafName, LeafPlan>> {
  const server = { purpose: 'serverAuth', names, authority: signing, now } as const;
  const client = { ...server, purpose: 'clientAuth' } as const;
  return {
    proxyServer: await planLeaf(observed.proxyServer, server),
    agentServer: await planLeaf(observed.agentServer, server),
    proxyClient: await planLeaf(observed.proxyClient, client),
  };
}

function bundleSecret(
  { bundlePem, trustedSince }: AuthorityPlan,
  name: string,
  wish: CertificatesWish,
  seen: KubeObject | undefined,
): KubeObject {
  const since = { [annotations.trustedSince]: trustedSince.toISOString() };
  const metadata = { ...hubMetadata(name, wish), annotations: since };
  return makeSecret(metadata, { 'ca.crt': bundlePem }, seen);
}

function hubMetadata(name: string, { hubNamespace, metadata }: CertificatesWish): ObjectMeta {
  return { name, namespace: hubNamespace, ...metadata };
}
