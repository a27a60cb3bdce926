import type { CertificateSigningRequest } from '../api/certificate-signing-request.ts';
import { kubeTime } from '../api/condition.ts';
import { servedAgent } from '../api/eligibility.ts';
import type { ManagedClusterAddOn } from '../api/managed-cluster-addon.ts';
import type { ManagedCluster } from '../api/managed-cluster.ts';
import { addonName, annotations, labels } from '../api/names.ts';
import type { Registration } from '../api/registration-config.ts';
import { checkCsr } from './verify-csr.ts';

/** What to do with a request. A person can read `message`; `reason` is for programs and counters. */
export type CsrDecision =
  | { readonly t: 'approve' | 'deny'; readonly reason: string; readonly message: string }
  /** Not ours, not now, or not ours to judge: it stays as it is and may be judged again. */
  | { readonly t: 'leave'; readonly reason: string; readonly message: string };

export interface CsrInput {
  readonly csr: CertificateSigningRequest;
  /** Undefined: unknown to the hub (or not seen yet). */
  readonly cluster: ManagedCluster | undefined;
  readonly addon: ManagedClusterAddOn | undefined;
  /** What the agent of that cluster is registered as (see `agentRegistrations`). */
  readonly registrations: readonly Registration[];
}

/** The hub's gRPC server creates requests for klusterlets that have no way to the kube-apiserver. */
const grpcServerUser = 'system:serviceaccount:open-cluster-management-hub:grpc-server-sa';
const klusterletPrefix = 'system:open-cluster-management:';

/** The cluster that a request is labelled with, where it is labelled as one of this addon. Anybody can write labels. */
export function labelledCluster(csr: CertificateSigningRequest): string | undefined {
  return csr.labels[labels.addonName] === addonName ? csr.labels[labels.clusterName] : undefined;
}

/**
 * Whether to approve a request for a certificate of this addon.
 *
 * Approved is only what a cluster's own klusterlet asks for its own agent, while the hub accepts that cluster. Denied is what a
 * cluster asks for in another's name, or beyond its registration: nobody could want to approve that by hand. A request that no
 * klusterlet made is left to people; one that comes too early is judged again when cluster or addon changes. A denied request is
 * removed by Kubernetes after an hour, and the klusterlet then makes another.
 */
export async function decideCsr(input: CsrInput): Promise<CsrDecision> {
  const { csr, cluster, addon, registrations } = input;
  const name = labelledCluster(csr);
  const what = `CertificateSigningRequest ${csr.name}`;
  const leave = (reason: string, message: string): CsrDecision => ({ t: 'leave', reason, message });
  const deny = (reason: string, message: string): CsrDecision => ({
    t: 'deny',
    reason,
    message: `${what} ${message}`,
  });

  if (name === undefined) return leave('NotOurs', `${what} is not labelled as one of ${addonName}`);
  if (csr.conditions.length > 0) return leave('Decided', `${what} is decided already`);

  const requester = klusterletOf(csr);
  if (requester === undefined) {
    const message = `${what} was made by ${JSON.stringify(csr.requester.user)}, who is no klusterlet; approve it by hand if you trust it`;
    return leave('NotFromKlusterlet', message);
  }
  if (requester !== name) {
    return deny(
      'ForeignRequester',
      `is for the cluster ${name} and was made by the klusterlet of ${requester}; a klusterlet gets certificates for its own cluster only`,
    );
  }
  const agent = servedAgent(name, cluster, addon);
  if (agent.t === 'unserved') return leave(agent.reason, `${what}: ${agent.message}`);
  const checked = await checkCsr(csr, agent.addon, registrations);
  if (checked.t === 'refused') return deny(checked.reason, checked.sentence);
  return {
    t: 'approve',
    reason: 'AutoApprovedByHubCSRApprovingController',
    message: `The klusterlet of ${name} asks for the certificate of its own ${addonName} agent.`,
  };
}

/** The condition that carries a decision out, for the `approval` of the request. */
export function approvalCondition(
  decision: CsrDecision & { t: 'approve' | 'deny' },
  nowMs: number,
): Readonly<Record<string, string>> {
  return {
    type: decision.t === 'approve' ? 'Approved' : 'Denied',
    status: 'True',
    reason: decision.reason,
    message: decision.message,
    lastUpdateTime: kubeTime(nowMs),
  };
}

/** The cluster whose klusterlet made the request; undefined: no klusterlet did. */
function klusterletOf(csr: CertificateSigningRequest): string | undefined {
  const { user, groups } = csr.requester;
  // Only the gRPC server itself can make a request as this user, and it has authenticated whom it names.
  if (user === grpcServerUser) return clusterOfUser(csr.annotations[annotations.csrUser] ?? '');
  const cluster = clusterOfUser(user);
  // The hub's own registration puts a klusterlet into the group of its cluster; a user name alone could come from elsewhere.
  return groups.includes(`${klusterletPrefix}${cluster}`) ? cluster : undefined;
}

/** `system:open-cluster-management:CLUSTER:AGENT`, and nothing that only begins like it. */
function clusterOfUser(user: string): string | undefined {
  if (!user.startsWith(klusterletPrefix)) return undefined;
  const [cluster, agent, ...more] = user.slice(klusterletPrefix.length).split(':');
  return cluster && agent && more.length === 0 ? cluster : undefined;
}
